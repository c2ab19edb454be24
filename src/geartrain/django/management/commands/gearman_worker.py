"""``python manage.py gearman_worker``: do the tasks of this project."""

from __future__ import annotations

import os
import socket
from typing import Any

from django import db
from django.core.management.base import BaseCommand, CommandError, CommandParser

from geartrain.django.backend import GearmanBackend
from geartrain.django.running import Runner
from geartrain.django.tasks import DEFAULT_TASK_BACKEND_ALIAS, task_backends
from geartrain.worker.sync import Worker


class Command(BaseCommand):  # type: ignore[misc]
    """Takes jobs until SIGTERM or SIGINT; what runs then is finished."""

    help = "Does this project's tasks, as job servers hand them out."

    def add_arguments(self, parser: CommandParser) -> None:
        """Spelled as those of ``gearman-worker``."""
        parser.add_argument("--backend", default=DEFAULT_TASK_BACKEND_ALIAS, help="key in TASKS")
        parser.add_argument(
            "--queue", action="append", dest="queues", metavar="NAME", help="this one only; repeats"
        )
        parser.add_argument("--servers", help="instead of those in TASKS: a,b:4731")
        parser.add_argument("--threads", type=int, default=1, help="tasks at once, in threads")
        parser.add_argument("--processes", type=int, default=0, help="... or in processes")
        parser.add_argument("--timeout", type=float, help="seconds; then another worker gets it")
        parser.add_argument(
            "--prefetch", type=int, default=0, help="tasks to fetch ahead, for very short ones"
        )
        parser.add_argument("--max-jobs", type=int, help="end after so many")
        parser.add_argument("--burst", action="store_true", help="end when there is nothing to do")
        parser.add_argument(
            "--grace", type=float, default=30.0, help="seconds to finish at the end"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Work.

        Raises:
            CommandError: the backend or a queue is not ours.
        """
        alias = options["backend"]
        backend = task_backends[alias]
        if not isinstance(backend, GearmanBackend):
            raise CommandError(f"TASKS[{alias!r}] is a {type(backend).__name__}, no GearmanBackend")
        queues = options["queues"] or sorted(backend.queues)
        if unknown := sorted(set(queues) - backend.queues):
            raise CommandError(f"TASKS[{alias!r}] has no queue {unknown[0]!r}")
        if options["threads"] > 1 and options["processes"] > 1:
            raise CommandError("--threads or --processes, not both; start several of this for both")
        if not queues:
            raise CommandError(f"TASKS[{alias!r}] takes any queue; say which with --queue")
        concurrency = max(options["threads"], options["processes"], 1)
        worker_id = f"{socket.gethostname()}-{os.getpid()}"
        worker = Worker(
            options["servers"] or backend.servers,
            worker_id=worker_id,
            namespace=backend.namespace,
            concurrency=concurrency,
            pool="process" if options["processes"] else None,
            grace=options["grace"],
            tls=backend.tls,
            prefetch=options["prefetch"],
        )
        for queue in queues:
            runner = Runner(backend, queue, worker_id)
            worker.add_function(backend.function(queue), runner, timeout=options["timeout"])
        if options["verbosity"]:
            self.stdout.write(
                f"{worker_id} does {', '.join(queues)} at {len(worker.servers)} server(s)"
            )
        # Connections do not survive a fork.
        db.connections.close_all()
        with worker:
            done = worker.work(max_jobs=options["max_jobs"], burst=options["burst"])
        if options["verbosity"]:
            self.stdout.write(f"{done} tasks done")
