"""The fields of a LoadTest's spec, each with what a user has to know to fill it in.

This tree is the one source of the CRD, of `kubectl explain` and of the checks made without a cluster. Rules over the
fields stand in `validation`, the status in `status`.
"""

from __future__ import annotations

from typing import Final

from loadstone_core.spec import defaults, validation
from loadstone_core.spec.environment import ENV, ENV_FROM
from loadstone_core.spec.load_rules import LOADS, WORKERS
from loadstone_core.spec.loads import LOAD, SCENARIOS, duration
from loadstone_core.spec.model import Engine, MasterOnLoss, OnHandlerError, OnLoss, OnNoData, Severity, Tls
from loadstone_core.spec.shape import NAME_OF_OBJECT_LONGEST, Flag, Listing, Record, Table, Text, Whole, named
from loadstone_core.spec.source import SOURCE
from loadstone_core.spec.template import TEMPLATE

_THRESHOLD: Final = Record(
    about="One condition on the results.",
    fields={
        "name": Text(
            about="Its name in the status: lower-case letters, digits and dashes. Example: p95-front-page.",
            shortest=1,
            longest=63,
            rules=validation.THRESHOLD_NAME,
        ),
        "expr": Text(
            about=(
                'What must hold: metric{label="value"}:statistic op value [over DURATION]. Examples: '
                'latency{name="front page"}:p95 < 300ms, failures:rate < 1%, requests:rate >= 500/s over 60s. '
                "Statistics are p1 to p99.999, avg, min, max, count, rate, value."
            ),
            shortest=1,
            longest=512,
            rules=validation.EXPRESSION,
        ),
        "severity": Text(
            about="Fail makes the run fail when it does not hold; Warn only reports it. Default: Fail.",
            choices=tuple(severity.value for severity in Severity),
            default=Severity.FAIL.value,
        ),
        "abortOnFail": Flag(
            about="End the run as soon as it does not hold (after delayAbort). Default: false.", default=False
        ),
        "delayAbort": duration(
            "How long load runs before abortOnFail may end it, for example 1m. Default: 10s.",
            rules=validation.DURATION,
            default=defaults.DELAY_ABORT,
        ),
        "onNoData": Text(
            about="What it means if nothing was measured for it: Fail, Inconclusive or Pass. Default: Fail.",
            choices=tuple(answer.value for answer in OnNoData),
            default=OnNoData.FAIL.value,
        ),
    },
    required=("name", "expr"),
)

SPEC: Final = Record(
    about="What to run, how much, where, and what the results must be.",
    fields={
        "engine": Text(
            about="Who runs the script: native runs Python classes made with loadstone's User. Default: native.",
            choices=tuple(engine.value for engine in Engine),
            default=Engine.NATIVE.value,
        ),
        "image": Text(
            about="Runner image with what the script needs. Default: the operator's runner image.",
            shortest=1,
            longest=512,
            rules=validation.IMAGE,
        ),
        "imagePullPolicy": Text(
            about="When nodes pull the image: Always, IfNotPresent or Never. Default: what Kubernetes does by tag.",
            choices=("Always", "IfNotPresent", "Never"),
        ),
        "source": SOURCE,
        "load": LOAD,
        "scenarios": SCENARIOS,
        "config": Table(
            about=(
                "Values for the script by name, which it reads as config[name]. They may be changed during a run, and "
                'every user then reads the new ones. Example: {basket-size: "3"}.'
            ),
            values=Text(about='Text; put numbers in quotes. Example: "3".', longest=defaults.CONFIG_VALUE_LONGEST),
            most=defaults.CONFIG_MOST,
            rules=validation.CONFIG,
        ),
        "env": ENV,
        "envFrom": ENV_FROM,
        "workers": Record(
            about="The pods that make the load.",
            fields={
                "replicas": Whole(
                    about=(
                        "How many worker pods share the load. A change, also by kubectl scale, takes effect while a "
                        "run goes on; where a load is a number of iterations, from the next run on. Default: 1."
                    ),
                    least=1,
                    most=defaults.REPLICAS_MOST,
                    default=defaults.REPLICAS,
                ),
                "onLoss": Text(
                    about=(
                        "What happens when a worker is lost in mid-run. Replace: its load moves to the others at once, "
                        "and back to a new pod when that is ready. Redistribute: it moves to the others and stays "
                        "there. Continue: the run goes on with less load. Abort: the run ends as Error. "
                        "Before the load begins, Replace and Redistribute make a new pod and wait for it until "
                        "startupTimeout; Continue and Abort end the run. Default: Replace."
                    ),
                    choices=tuple(each.value for each in OnLoss),
                    default=OnLoss.REPLACE.value,
                ),
                "maxLostPercent": Whole(
                    about=(
                        "How many workers may be lost and not replaced at a time, in percent, rounded up to whole "
                        "workers; with more, or without any left, the run ends as Error with WorkersLost. Default: 20."
                    ),
                    least=0,
                    most=100,
                    default=defaults.MAX_LOST_PERCENT,
                ),
                "minAvailable": Whole(
                    about=(
                        "With so many workers the load begins when startupTimeout is over, and they share all of it "
                        "(with onLoss Continue or Abort: only their own part). Default: it begins with all workers or "
                        "not at all. Example: 8."
                    ),
                    least=1,
                    most=defaults.REPLICAS_MOST,
                ),
                "template": TEMPLATE,
            },
            default={},
            rules=WORKERS,
        ),
        "master": Record(
            about="The pod that leads the run: it merges what the workers measure, and comes to the verdict.",
            fields={
                "onLoss": Text(
                    about=(
                        "What becomes of a run whose master is killed or whose pod is lost: Restart lets another take "
                        "over while the workers keep their load; Abort ends the run as Error with MasterLost. "
                        "Default: Restart."
                    ),
                    choices=tuple(each.value for each in MasterOnLoss),
                    default=MasterOnLoss.RESTART.value,
                ),
            },
            default={},
        ),
        "thresholds": Listing(
            about=(
                "Conditions on the merged results that decide between Passed and Failed. "
                "Example: [{name: reliable, expr: 'failures:rate < 1%'}]."
            ),
            items=_THRESHOLD,
            most=defaults.THRESHOLDS_MOST,
            key="name",
        ),
        "control": Record(
            about=(
                "Lets platforms watch the run at its master: REST with server-sent events on port 8653, gRPC on 8654. "
                "Changes are made to the LoadTest only. Unset: nobody can. Example: {tokenSecret: {name: platform}}."
            ),
            fields={
                "tokenSecret": Record(
                    about="The Secret in the LoadTest's namespace with the token that callers say (Bearer).",
                    fields={
                        "name": named("Name of the Secret."),
                        "key": Text(
                            about="Key whose value is the token. Default: token.",
                            shortest=1,
                            longest=NAME_OF_OBJECT_LONGEST,
                            default=defaults.TOKEN_KEY,
                        ),
                    },
                    required=("name",),
                ),
            },
            required=("tokenSecret",),
        ),
        "onHandlerError": Text(
            about=(
                "What it means if a handler of the script's custom messages raises or takes longer than its timeout: "
                "Continue lists it in the findings, Fail makes the run an Error with HandlerFailed as well. "
                "Default: Continue."
            ),
            choices=tuple(answer.value for answer in OnHandlerError),
            default=OnHandlerError.CONTINUE.value,
        ),
        "className": named(
            "The LoadTestClass that this test belongs to; its kill switch ends the run at once. May be changed in "
            "mid-run. Default: the class with the annotation loadstone.dev/is-default-class, if there is one. "
            "Example: staging."
        ),
        "stopRun": Whole(
            about=(
                "Stops the run of this number (status.run.number) gracefully and keeps its results; other runs are not "
                "touched, so it may stay there. Example: 3."
            ),
            least=1,
            most=defaults.RUNS_MOST,
        ),
        "suspend": Flag(
            about="True stops a run (verdict Aborted) and starts none until it is false again. Default: false.",
            default=False,
        ),
        "trigger": Text(
            about=(
                "Each new value starts one more run, for example a commit or a date. Nothing else makes a finished "
                "test run again."
            ),
            longest=128,
        ),
        "startupTimeout": duration(
            "How long it may take until load starts, from the start of the master, or of the run if nobody hears that; "
            "then the run ends as Error with StartupTimeout, or what caused it. Default: 10m.",
            default=defaults.STARTUP_TIMEOUT,
        ),
        "transport": Record(
            about="How operator, master and workers of a run talk to each other.",
            fields={
                "tls": Text(
                    about=(
                        "Mutual: each shows a certificate that the operator has made for this run, and refuses "
                        "everybody else. Disabled: nobody is asked who he is, for debugging only. Default: Mutual."
                    ),
                    choices=tuple(tls.value for tls in Tls),
                    default=Tls.MUTUAL.value,
                ),
                "lease": duration(
                    "For how long a worker makes load without a word of the master, from 10s to 5m. The master gives "
                    "its load away 5 s later, after 26 s of silence at least and while the operator is there, or at "
                    "once when its container is known to have ended. Default: 30s.",
                    rules=validation.LEASE,
                    default=defaults.LEASE,
                ),
            },
            default={},
        ),
        "results": Record(
            about="What is reported.",
            fields={
                "percentiles": Listing(
                    about='Percentiles of latency in the status, as text. Default: ["50", "90", "95", "99", "99.9"].',
                    items=Text(
                        about='From 1 to 99.999, for example "99.9".',
                        shortest=1,
                        longest=6,
                        rules=validation.PERCENTILE,
                    ),
                    fewest=1,
                    most=defaults.PERCENTILES_MOST,
                    distinct=True,
                    default=list(defaults.PERCENTILES),
                ),
                "metrics": Record(
                    about="What is measured.",
                    fields={
                        "drop": Listing(
                            about=(
                                "Metrics, and labels of metrics, that are left out before they are recorded: they cost "
                                "neither memory nor network. What verdict and thresholds are made of cannot be left "
                                "out. Example: [first_byte, 'checks{tier}']."
                            ),
                            items=Text(
                                about="The name of a metric, or of one of its labels in braces.",
                                shortest=1,
                                longest=256,
                                rules=validation.DROP,
                            ),
                            most=defaults.DROPS_MOST,
                            distinct=True,
                        ),
                    },
                ),
            },
            default={},
        ),
    },
    required=("source",),
    rules=LOADS,
)
