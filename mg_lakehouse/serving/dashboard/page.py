# /// script
# [tool.marimo.display]
# theme = "system"
# ///
# A marimo notebook: each function is a cell, its arguments come from the cells before it, and its last expression is its output.
"""The dashboard's page, for `mg-lakehouse dashboard`."""

import marimo

app = marimo.App(width="medium", app_title="MessageGears lakehouse")


@app.cell
def _():
    from datetime import timedelta

    import marimo as mo

    from mg_lakehouse.serving.dashboard import charts, questions
    from mg_lakehouse.errors import LakehouseError
    from mg_lakehouse.settings import load_settings
    from mg_lakehouse._util.escaping import for_html
    from mg_lakehouse.serving.sandbox.sandbox import ad_hoc
    from mg_lakehouse.location import Location

    settings = load_settings()

    def ask(question, *arguments):
        """Query the lake as it is now, with new builds and new tables."""
        with ad_hoc(Location(settings.lake_uri), settings) as asked:
            return question(asked, *arguments)

    def ask_all(*questions_asked):
        with ad_hoc(Location(settings.lake_uri), settings) as asked:
            return [question(asked, *arguments) for question, *arguments in questions_asked]

    return LakehouseError, ask, ask_all, charts, for_html, mo, questions, settings, timedelta


@app.cell
def _(mo):
    refresh = mo.ui.refresh(options=["30s", "1m", "5m", "15m"], default_interval="1m", label="Refresh")
    return (refresh,)


@app.cell
def _(LakehouseError, ask, for_html, mo, questions, settings):
    try:
        choice = ask(questions.choices)
        problem = (
            None
            if choice.last is not None
            else "No job has sent anything yet: new events show here after the next build of gold."
        )
    except LakehouseError as error:
        choice, problem = None, str(error)
    heading = mo.vstack([mo.md("# MessageGears lakehouse"), mo.Html(f"<code>{for_html(settings.lake_uri)}</code>")], gap=0)
    mo.stop(problem is not None, mo.vstack([heading, mo.callout(mo.Html(for_html(problem or "")), kind="info")]))
    return choice, heading


@app.cell
def _(charts, choice, mo, timedelta):
    days = mo.ui.date_range(
        start=choice.first, stop=choice.last, value=(max(choice.first, choice.last - timedelta(days=30)), choice.last), label="Jobs of"
    )
    categories = mo.ui.multiselect(options=charts.choices(choice.categories), label="Category")
    campaigns = mo.ui.multiselect(options=charts.choices(choice.campaigns), label="Campaign")
    return campaigns, categories, days


@app.cell
def _(campaigns, categories, days, heading, mo, refresh):
    mo.vstack([heading, mo.hstack([days, categories, campaigns, refresh], wrap=True, justify="start", gap=1)])


@app.cell
def _(ask_all, campaigns, categories, days, questions, refresh):
    refresh  # query again with each tick
    wanted = questions.Wanted(days.value[0], days.value[1], tuple(categories.value), tuple(campaigns.value))
    jobs, daily, bounces, suppressed, reasons, feed, lags, rejected = ask_all(
        (questions.jobs, wanted),
        (questions.daily, wanted),
        (questions.bounces, wanted),
        (questions.suppressed,),
        (questions.suppressed_by_reason,),
        (questions.feed,),
        (questions.lags,),
        (questions.rejected,),
    )
    return bounces, daily, feed, jobs, lags, reasons, rejected, suppressed, wanted


@app.cell
def _(charts, jobs):
    shown = charts.jobs_to_show(jobs)
    table = charts.table(
        shown,
        selection="single",
        initial_selection=[0] if shown.height else None,
        page_size=12,
        freeze_columns_left=["job"],
        label="Select a job to see it in depth.",
    )
    return (table,)


@app.cell
def _(charts, daily, mo, table):
    overview = mo.vstack(
        [
            mo.hstack([mo.stat(**tile, bordered=True) for tile in charts.tiles(daily)], wrap=True, justify="start", gap=0.5),
            charts.by_day(daily),
            table,
        ]
    )
    return (overview,)


@app.cell
def _(ask_all, charts, jobs, mo, questions, table, wanted):
    chosen = None if table.value is None or not len(table.value) else jobs.row(int(table.value["#"][0]) - 1, named=True)
    if chosen is None:
        job = mo.md("Select a job in the table of jobs.")
    else:
        request_id = chosen["request_id"]
        curve, of_bounces, providers, links, errors = ask_all(
            (questions.curve, request_id),
            (questions.bounces, wanted, request_id),
            (questions.providers, request_id),
            (questions.links, request_id),
            (questions.errors, request_id),
        )
        job = mo.vstack(
            [
                mo.Html(charts.heading(chosen)),
                charts.funnel(chosen),
                mo.md("### Engagement by age"),
                charts.engagement(curve),
                mo.md("### What bounced, and why"),
                charts.categories(of_bounces),
                mo.md("### Mailbox providers"),
                charts.table(providers, selection=None),
                mo.md("### Links"),
                charts.table(links, selection=None),
                mo.md("### Errors"),
                charts.table(errors, selection=None) if errors.height else mo.md("None."),
            ]
        )
    return (job,)


@app.cell
def _(bounces, charts, feed, job, lags, mo, overview, reasons, rejected, suppressed):
    mo.ui.tabs(
        {
            "Jobs": overview,
            "One job": job,
            "Bounces": mo.vstack(
                [mo.md("### By day and kind"), charts.bounces_by_day(bounces), mo.md("### By category"), charts.categories(bounces)]
            ),
            "Suppression list": mo.vstack(
                [
                    mo.md("### Addresses that must get nothing more"),
                    charts.growth(suppressed),
                    charts.table(reasons, selection=None),
                ]
            ),
            "Feed": mo.vstack(
                [
                    mo.md("### Received by hour"),
                    charts.received(feed),
                    mo.md("### Minutes between an event and its receipt"),
                    charts.lag(lags),
                    mo.md("### What could not be read"),
                    charts.table(rejected, selection=None)
                    if rejected.height
                    else mo.md("Nothing."),
                ]
            ),
        }
    )


if __name__ == "__main__":
    app.run()
