"""The HTTP application on a Ray cluster: `serve run spamgpt.serve.ray:app classifier=v3`.

Ray Serve listens, spreads the requests over replicas, starts and ends these as the load asks for,
and replaces those that die. Each replica answers as `spamgpt serve` does; it takes no corrections.
"""

from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from starlette.types import ASGIApp

from spamgpt.addresses import is_address
from spamgpt.classifier.finding import find_classifier
from spamgpt.classifier.model import SpamClassifier
from spamgpt.classifier.predictor import Predictor
from spamgpt.data.stores import opened
from spamgpt.device import Device, Precision, set_threads
from spamgpt.errors import UsageError
from spamgpt.serve.access import Access, read_token
from spamgpt.serve.app import create_app
from spamgpt.serve.service import Service, Serving
from spamgpt.workspace import Workspace


class Options(BaseModel):
    """What follows `app`, as `name=value`, or stands under `args` in a configuration of Serve.

    `classifier` is what `find_classifier` takes, or the address of a bundle, such as
    `s3://bucket/filter.spamgpt`; by default the newest, or the bundled one if there is none. Every
    node reads it for itself, and so it does `token_file`, which holds what every request has to
    bring; without one, only requests to this machine's own name are answered, unless `no_token`.
    Between `min_replicas` and `max_replicas` there are as many as hold about `target` requests each
    at once.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    workspace: str = "workspace"
    classifier: str | None = None
    threshold: float | None = None
    token_file: str | None = None
    no_token: bool = False
    precision: Precision = "auto"
    device: Device = "auto"
    threads: int = Field(1, ge=1)
    num_gpus: float = Field(0, ge=0)
    min_replicas: int = Field(1, ge=0)
    max_replicas: int = Field(1, ge=1)
    target: float = Field(16, gt=0)


def app(options: Options) -> serve.Application:
    """The application for `serve run` and `serve build`."""
    if options.max_replicas < options.min_replicas:
        raise UsageError(
            "`max_replicas` is less than `min_replicas`.", "Raise it, or leave it out."
        )

    def build() -> ASGIApp:
        token = read_token(Path(options.token_file)) if options.token_file else None
        access = Access(token, local=token is None and not options.no_token)
        return create_app(_service(options), access)

    class Replica:
        def check_health(self) -> None:
            """Raises where messages are no longer classified; Serve then replaces the replica."""
            if not _service(options).alive:
                raise RuntimeError("The classifier's thread has ended.")

    deploy = serve.deployment(
        name="spamgpt",
        ray_actor_options={"num_cpus": options.threads, "num_gpus": options.num_gpus},
        autoscaling_config={
            "min_replicas": options.min_replicas,
            "max_replicas": options.max_replicas,
            "target_ongoing_requests": options.target,
        },
        # Beyond that a replica refuses by its own limits, and says why.
        max_ongoing_requests=1000,
    )
    return deploy(serve.ingress(build)(Replica)).bind()


@cache
def _service(options: Options) -> Service:
    """The service of this replica."""
    set_threads(options.threads)
    name, classifier = _classifier(options)
    return Service(Serving(name, Predictor(classifier, options.threshold)))


def _classifier(options: Options) -> tuple[str, SpamClassifier]:
    """A classifier and what it is called."""
    named, chosen = options.classifier, (options.device, options.precision)
    if named is not None and is_address(named):
        with opened(named) as file:
            return named, SpamClassifier.from_bundle(file.read(), *chosen)
    name, _, classifier = find_classifier(named, Workspace(Path(options.workspace)), *chosen)
    return name, classifier
