# /// script
# [tool.marimo.display]
# theme = "system"
# ///
# A marimo notebook: each function is a cell, its arguments are the cells that it follows, and its last expression is what it shows.
"""The dashboard's page, for `mg-lakehouse dashboard`."""

import marimo

app = marimo.App(width="medium", app_title="MessageGears lakehouse")


@app.cell
def _():
    from datetime import timedelta

    import marimo as mo

    from mg_lakehouse.dashboard import charts, questions
    from mg_lakehouse.errors import LakehouseError
    from mg_lakehouse.settings import load_settings
    from mg_lakehouse.stores.ad_hoc import ad_hoc
    from mg_lakehouse.stores.location import Location

    settings = load_settings()

    def ask(question, *given):
        """The answer of a lake as it is now: what was built a moment ago is in it, tables that are new included."""
        with ad_hoc(Location(settings.lake_uri), settings) as asked:
            return question(asked, *given)

    def ask_all(*wanted):
        with ad_hoc(Location(settings.lake_uri), settings) as asked:
            return [question(asked, *given) for question, *given in wanted]

    return LakehouseError, ask, ask_all, charts, mo, questions, settings, timedelta


@app.cell
def _(mo):
    refresh = mo.ui.refresh(options=["30s", "1m", "5m", "15m"], default_interval="1m", label="Refresh")
    return (refresh,)


@app.cell
def _(LakehouseError, ask, mo, questions, settings):
    try:
        choice = ask(questions.choices)
        problem = (
            None
            if choice.last is not None
            else "No job has sent anything yet: what the feed brings shows here after the next build of gold."
        )
    except LakehouseError as error:
        choice, problem = None, str(error)
    heading = mo.md(f"# MessageGears lakehouse\n`{settings.lake_uri}`")
    mo.stop(problem is not None, mo.vstack([heading, mo.callout(mo.md(problem or ""), kind="info")]))
    return choice, heading


@app.cell
def _(choice, mo, timedelta):
    days = mo.ui.date_range(
        start=choice.first, stop=choice.last, value=(max(choice.first, choice.last - timedelta(days=30)), choice.last), label="Jobs of"
    )
    categories = mo.ui.multiselect(options=list(choice.categories), label="Category")
    campaigns = mo.ui.multiselect(options=list(choice.campaigns), label="Campaign")
    return campaigns, categories, days


@app.cell
def _(campaigns, categories, days, heading, mo, refresh):
    mo.vstack([heading, mo.hstack([days, categories, campaigns, refresh], wrap=True, justify="start", gap=1)])


@app.cell
def _(ask_all, campaigns, categories, days, questions, refresh):
    refresh  # asked anew with each tick
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
def _(charts, jobs, mo):
    shown = charts.jobs_to_show(jobs)
    table = mo.ui.table(
        shown,
        selection="single",
        initial_selection=[0] if shown.height else None,
        page_size=12,
        show_column_summaries=False,
        show_download=False,
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
                mo.md(
                    f"## {charts.plain(chosen['job'])}\n{chosen['channel']} of {chosen['day']}, {chosen['maturity']} · `{charts.plain(request_id)}`"
                ),
                charts.funnel(chosen),
                mo.md("### Engagement by age"),
                charts.engagement(curve),
                mo.md("### What bounced, and why"),
                charts.categories(of_bounces),
                mo.md("### Mailbox providers"),
                mo.ui.table(providers, selection=None, show_column_summaries=False, show_download=False),
                mo.md("### Links"),
                mo.ui.table(links, selection=None, show_column_summaries=False, show_download=False),
                mo.md("### Errors"),
                mo.ui.table(errors, selection=None, show_column_summaries=False, show_download=False) if errors.height else mo.md("None."),
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
                    mo.ui.table(reasons, selection=None, show_column_summaries=False, show_download=False),
                ]
            ),
            "Feed": mo.vstack(
                [
                    mo.md("### Received by hour"),
                    charts.received(feed),
                    mo.md("### Minutes between an event and its receipt"),
                    charts.lag(lags),
                    mo.md("### What could not be read"),
                    mo.ui.table(rejected, selection=None, show_column_summaries=False, show_download=False)
                    if rejected.height
                    else mo.md("Nothing."),
                ]
            ),
        }
    )


if __name__ == "__main__":
    app.run()
