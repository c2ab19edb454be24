"""The admin client: answers read without a socket, and asked of real servers."""

from __future__ import annotations

import pytest

from geartrain.client.admin import AdminClient
from geartrain.client.answers import (
    FunctionStatus,
    JobInfo,
    PriorityStatus,
    WorkerInfo,
    check_answer,
    max_queue_line,
    read_jobs,
    read_priority_status,
    read_status,
    read_value,
    read_workers,
)
from geartrain.client.sync import Client
from geartrain.errors import (
    ConfigurationError,
    JobNotFound,
    ProtocolError,
    ServerError,
    ServerUnavailable,
)
from tests.client.servers import RawWorker, Server
from tests.support import free_port


def test_lists_of_every_server() -> None:
    assert read_status(["FUNCTION\tTOTAL\tRUNNING\tAVAILABLE_WORKERS", "a\tb\t3\t1\t2"]) == [
        FunctionStatus("a\tb", 3, 1, 2)
    ]
    assert FunctionStatus("f", 3, 1, 2).waiting == 2
    assert read_priority_status(["f\t1\t2\t3\t4"]) == [PriorityStatus("f", 1, 2, 3, 4)]
    assert read_workers(
        ["39 127.0.0.1 w one : f g", "37 ::1 - :", "3 ::1 - : ", "4 1.2.3.4  : f"]
    ) == [
        WorkerInfo(39, "127.0.0.1", "w one", ("f", "g")),
        WorkerInfo(37, "::1", "-", ()),
        WorkerInfo(3, "::1", "-", ()),
        WorkerInfo(4, "1.2.3.4", "", ("f",)),
    ]
    assert read_jobs(["H:vm:2\t1\t0\t1"]) == [JobInfo("H:vm:2", 1, False, True)]
    assert [read_value([line]) for line in ("OK 1.1.20", "v1.130.1", "OK")] == [
        "1.1.20",
        "v1.130.1",
        "",
    ]


@pytest.mark.parametrize("read", [read_status, read_priority_status, read_workers, read_jobs])
def test_line_that_is_none_is_told(read: object) -> None:
    assert callable(read)
    with pytest.raises(ProtocolError, match="nonsense"):
        read(["nonsense"])


def test_errors_have_code_and_text() -> None:
    check_answer(["OK"])
    with pytest.raises(JobNotFound):
        check_answer(["ERR UNKNOWN_JOB"])
    with pytest.raises(ServerError) as caught:
        check_answer(["ERR UNKNOWN_COMMAND Unknown+server+commandfoo"])
    assert (caught.value.code, caught.value.text) == (
        "UNKNOWN_COMMAND",
        "Unknown server commandfoo",
    )


def test_max_queue_takes_none_one_or_three() -> None:
    assert max_queue_line("f", ()) == "maxqueue f"
    assert max_queue_line("f", (1,)) == "maxqueue f 1"
    assert max_queue_line("f", (1, 2, 3)) == "maxqueue f 1 2 3"
    with pytest.raises(ValueError, match="three"):
        max_queue_line("f", (1, 2))
    with pytest.raises(ValueError, match="one word"):
        max_queue_line("f g", ())


def test_against_a_server(server: Server, client: Client, worker: RawWorker) -> None:
    with AdminClient(str(server)) as admin:
        handle = client.do_background("waiting", unique="u1")
        assert FunctionStatus("waiting", 1, 0, 0) in admin.status()
        assert PriorityStatus("waiting", 0, 1, 0, 0) in admin.priority_status()
        assert any("reverse" in info.functions for info in admin.workers())
        assert JobInfo(handle, 0, False, True) in admin.show_jobs()
        assert "u1" in admin.show_unique_jobs()
        assert admin.cancel_job(handle)
        assert not admin.cancel_job("H:no:1")
        assert admin.version()
        assert admin.verbose()
        assert admin.getpid() > 0
        assert admin.ping() > 0
        admin.create_function("brand-new")
        assert any(status.function == "brand-new" for status in admin.status())
        admin.drop_function("brand-new")
        assert not any(status.function == "brand-new" for status in admin.status())
        with pytest.raises(ServerError):
            admin.drop_function("brand-new")
        with pytest.raises(ServerError):
            admin.command("frobnicate")
        assert admin.command("version") == [f"OK {admin.version()}"]


def test_it_has_one_server() -> None:
    with pytest.raises(ConfigurationError, match="2 servers"):
        AdminClient("a,b")


def test_no_server() -> None:
    with AdminClient(f"127.0.0.1:{free_port()}") as admin, pytest.raises(ServerUnavailable):
        admin.status()
