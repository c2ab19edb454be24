"""The admin text protocol, transcript by transcript, without a socket.

Source: protocol reference, section 3; the odd bytes are the C server's.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geartrain.frontends.admin import PIECE, Listing, for_people
from geartrain.protocol import commands as c
from tests.frontends.talk import Line, Talk, packet

INCOMPLETE = b"ERR INVALID_ARGUMENTS An+incomplete+set+of+arguments+was+sent+to+this+command+%s\r\n"
UNKNOWN = b"ERR UNKNOWN_COMMAND Unknown+server+command%s\r\n"
IN_USE = b"ERR there are still connected workers or executing clients\r\n"


def ask(line: Line, said: bytes) -> bytes:
    """Everything that a line of text is answered with."""
    line.say(said)
    return line.take()


@pytest.mark.parametrize("said", [b"x" * 8192, b"status " + b"x" * 8185 + b"\n"])
def test_line_too_long_is_answered_in_text_and_the_connection_closed(
    talk: Talk, said: bytes
) -> None:
    line = talk.join()

    answer = ask(line, said)

    assert answer == b"ERR LINE_TOO_LONG A+line+has+at+most+8191+bytes\r\n"
    assert line.connection.closing


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"\n", UNKNOWN % b""),
        (b"\r\n", UNKNOWN % b""),
        (b" version\n", UNKNOWN % b""),
        (b"foo bar\r\n", UNKNOWN % b"foo"),
        (b"shutdown\n", UNKNOWN % b"shutdown"),
        (b"shutdown graceful\n", UNKNOWN % b"shutdown"),
        (b"VERSION\n", b"OK 1.1.99\n"),
        (b"version a b c d\n", b"OK 1.1.99\n"),
        (b"version\0what\n", b"OK 1.1.99\n"),
        (b"getpid\n", b"OK 0\n"),
        (b"verbose\r\n", b"OK ERROR\n"),
        (b"1 2 3 4 5 6\n", UNKNOWN % b"1"),
        (b"status\n", b".\n"),
        (b"STATUS\r\n", b".\n"),
        (b"prioritystatus\n", b".\n"),
        (b"priority status\n", UNKNOWN % b"priority"),
        (b"priority-status\n", UNKNOWN % b"priority-status"),
        (b"show jobs\n", b".\n"),
        (b"show  unique   jobs\n", b".\n"),
        (b"show\n", UNKNOWN % b"show"),
        (b"show foo\n", b"ERR UNKNOWN_SHOW_ARGUMENTS\r\n"),
        (b"show jobs x\n", b"ERR UNKNOWN_SHOW_ARGUMENTS\r\n"),
        (b"show unique\n", b"ERR UNKNOWN_SHOW_ARGUMENTS\r\n"),
        (b"maxqueue\n", INCOMPLETE % b"maxqueue"),
        (b"maxqueue f\n", b"OK\r\n"),
        (b"maxqueue f 5\n", b"OK\r\n"),
        (b"maxqueue f 5 6\n", b"OK\r\n"),
        (b"maxqueue f 5 6 7\n", b"OK\r\n"),
        (b"maxqueue f 5 6 7 8\n", INCOMPLETE % b"maxqueue"),
        (b"maxqueue f abc\n", b"OK\r\n"),
        (b"maxqueue f -1\n", b"OK\r\n"),
        (b"maxqueue f 99999999999999999999999\n", b"OK\r\n"),
        (b"create\n", INCOMPLETE % b"create"),
        (b"create function\n", INCOMPLETE % b"create"),
        (b"create foo x\n", INCOMPLETE % b"create"),
        (b"create function a b\n", INCOMPLETE % b"create"),
        (b"create function abcd\n", b"OK\r\n"),
        (b"create function abcd\r\n", b"OK\r\n"),
        (b"drop\n", INCOMPLETE % b"drop"),
        (b"drop function\n", INCOMPLETE % b"drop"),
        (b"drop foo x\n", INCOMPLETE % b"drop"),
        (b"drop function nosuch\n", b"ERR function not found\r\n"),
        (b"cancel\n", UNKNOWN % b"cancel"),
        (b"cancel job\n", UNKNOWN % b"cancel"),
        (b"cancel job H:nope:1\n", b"ERR UNKNOWN_JOB\r\n"),
        (b"cancel foo x\n", b"ERR UNKNOWN_ERROR\r\n"),
        (b"cancel job H:nope:1 x\n", b"ERR UNKNOWN_ERROR\r\n"),
    ],
)
def test_answer_is_the_one_that_scripts_know(talk: Talk, said: bytes, answer: bytes) -> None:
    assert ask(talk.join(), said) == answer


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_created_function_has_its_whole_name(talk: Talk, end: bytes) -> None:
    line = talk.join()

    ask(line, b"create function abcd" + end)

    assert ask(line, b"status" + end) == b"abcd\t0\t0\t0\n.\n"


def test_lists_of_a_server_at_work(talk: Talk) -> None:
    worker, client, admin = talk.worker(b"reverse", b"other"), talk.join(), talk.join()
    worker.send(c.SET_CLIENT_ID, b"worker-one")
    first = client.submit(b"reverse", b"u1")
    second = client.submit(b"reverse", b"u2", number=c.SUBMIT_JOB_BG)
    third = client.submit(b"reverse", number=c.SUBMIT_JOB_HIGH)
    worker.send(c.GRAB_JOB)

    assert ask(admin, b"status\n") == b"reverse\t3\t1\t1\nother\t0\t0\t1\n.\n"
    assert ask(admin, b"prioritystatus\n") == b"reverse\t0\t2\t0\t1\nother\t0\t0\t0\t1\n.\n"
    assert ask(admin, b"workers\n") == (b"11 - worker-one : other reverse\n12 - - :\n13 - - :\n.\n")
    assert ask(admin, b"show jobs\n") == (
        first + b"\t0\t0\t0\n" + second + b"\t0\t0\t1\n" + third + b"\t0\t0\t0\n.\n"
    )
    assert ask(admin, b"show unique jobs\n") == b"u1\nu2\n\n.\n"
    assert ask(admin, b"jobs\n") == (b"reverse\tu1\t-\t1\nreverse\tu2\t-\t0\nreverse\t\t-\t1\n.\n")


def test_waiting_epoch_job_counts_as_normal(talk: Talk) -> None:
    client = talk.join()
    client.send(c.SUBMIT_JOB_EPOCH, b"f", b"", b"1800000000", b"w")
    client.take()

    assert ask(client, b"status\nprioritystatus\n") == b"f\t1\t0\t0\n.\nf\t0\t1\t0\t0\n.\n"


def test_attempts_are_shown(talk: Talk) -> None:
    worker, client = talk.worker(b"f"), talk.join()
    handle = client.submit()
    worker.grab()
    worker.send(c.RESET_ABILITIES)

    assert ask(client, b"show jobs\n") == handle + b"\t1\t0\t0\n.\n"


@pytest.mark.parametrize("name", [b"abcd", b"ABCD", b"aBcD"])
def test_function_is_dropped_whatever_its_case(talk: Talk, name: bytes) -> None:
    line = talk.join()
    ask(line, b"create function abcd\n")

    assert ask(line, b"drop function " + name + b"\n") == b"OK\r\n"
    assert ask(line, b"status\n") == b".\n"


def test_exact_name_is_dropped_before_one_of_another_case(talk: Talk) -> None:
    line = talk.join()
    ask(line, b"create function ab\ncreate function AB\n")

    assert ask(line, b"drop function AB\n") == b"OK\r\n"
    assert ask(line, b"status\n") == b"ab\t0\t0\t0\n.\n"


def test_function_in_use_is_not_dropped(talk: Talk) -> None:
    worker, client, admin = talk.worker(b"f"), talk.join(), talk.join()
    assert ask(admin, b"drop function f\n") == IN_USE

    handle = client.submit()
    worker.grab()
    worker.leave()
    assert ask(admin, b"drop function f\n") == IN_USE

    assert ask(admin, b"cancel job " + handle + b"\n") == b"OK\r\n"
    assert client.heard() == [(c.WORK_FAIL, handle)]
    assert ask(admin, b"drop function f\n") == b"OK\r\n"


def test_limits_are_kept_for_a_function_that_comes_later(talk: Talk) -> None:
    client = talk.join()

    ask(client, b"maxqueue f 1\n")

    client.submit()
    client.send(c.SUBMIT_JOB, b"f", b"", b"w")
    assert client.heard() == [(c.ERROR, b"QUEUE_ERROR\0Job queue is full")]


def test_one_two_and_three_limits(talk: Talk) -> None:
    line = talk.join()

    def limits_after(said: bytes) -> list[int]:
        ask(line, said)
        return talk.broker.state.functions[b"f"].limits

    assert limits_after(b"maxqueue f 5\n") == [5, 5, 5]
    assert limits_after(b"maxqueue f 5 6\n") == [5, 6, 0]
    assert limits_after(b"maxqueue f 5 6 7\n") == [5, 6, 7]
    assert limits_after(b"maxqueue f x\n") == [0, 0, 0]
    assert limits_after(b"maxqueue f 3\n") == [3, 3, 3]
    assert limits_after(b"maxqueue f\n") == [0, 0, 0]


@pytest.mark.parametrize("said", [b"create function c\n", b"maxqueue c 3\n"])
def test_no_function_is_made_past_max_functions_by_words_either(said: bytes) -> None:
    line = Talk(max_functions=2).join()
    ask(line, b"create function a\ncreate function b\n")

    assert ask(line, said) == b"ERR there are max-functions functions already, drop one first\r\n"
    assert ask(line, b"create function a\n") == b"OK\r\n"
    assert ask(line, b"status\n") == b"a\t0\t0\t0\nb\t0\t0\t0\n.\n"


@pytest.mark.parametrize(
    ("said", "graceful"), [(b"shutdown\n", False), (b"SHUTDOWN Graceful\r\n", True)]
)
def test_shutdown_is_obeyed_where_it_is_allowed(talk: Talk, said: bytes, graceful: bool) -> None:
    talk.house.may_shut_down = True

    assert ask(talk.join(), said) == b"OK\r\n"
    assert talk.house.asked is graceful


def test_shutdown_of_another_kind_is_refused(talk: Talk) -> None:
    talk.house.may_shut_down = True

    assert ask(talk.join(), b"shutdown now\n") == INCOMPLETE % b"shutdown"
    assert talk.house.asked is None


def test_names_cannot_garble_the_lists(talk: Talk) -> None:
    worker, client = talk.worker(b"a\tb\nc", b""), talk.join()
    worker.send(c.SET_CLIENT_ID, b"my worker\n.\n")
    client.submit(b"a\tb\nc", b"u\n.\n")

    assert ask(client, b"status\n") == b"a%09b%0Ac\t1\t0\t1\n\t0\t0\t1\n.\n"
    assert ask(client, b"show unique jobs\n") == b"u%0A.%0A\n.\n"
    assert ask(client, b"workers\n").split(b"\n")[0] == b"11 - my_worker%0A.%0A :  a%09b%0Ac"


@given(st.binary())
def test_any_name_can_stand_in_a_table(name: bytes) -> None:
    shown = for_people(name)

    assert not any(byte < 32 or byte == 127 for byte in shown)


# ── long lists ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize("count", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
def test_list_of_any_length_is_whole_and_ends_once(talk: Talk, count: int) -> None:
    for number in range(count):
        talk.broker.create_function(b"f%d" % number)

    lines = ask(talk.join(), b"status\n").split(b"\n")

    assert lines == [b"f%d\t0\t0\t0" % number for number in range(count)] + [b".", b""]


def test_list_is_made_a_piece_at_a_time(talk: Talk) -> None:
    for number in range(2 * PIECE):
        talk.broker.create_function(b"f%d" % number)
    listing = Listing(talk.house, 0, talk.broker.function_names(), [])

    first, second = listing.piece(), listing.piece()

    assert first.count(b"\n") == PIECE
    assert second.count(b"\n") == PIECE + 1
    assert listing.done


def test_what_goes_while_a_list_is_written_is_left_out(talk: Talk) -> None:
    client = talk.join()
    handles = [client.submit() for _ in range(PIECE + 10)]
    listing = Listing(talk.house, 3, talk.broker.job_handles(), [])
    first = listing.piece()

    for handle in handles[PIECE - 1 :]:
        talk.broker.cancel(handle)
    talk.broker.create_function(b"new")

    assert first.count(b"\n") == PIECE
    assert listing.piece() == b".\n"


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=20),
            st.lists(
                st.sampled_from(
                    b"status version show unique jobs cancel job drop create function maxqueue f g "
                    b"1 -1 x workers prioritystatus getpid verbose shutdown".split()
                ),
                max_size=7,
            ).map(b" ".join),
        ),
        max_size=10,
    )
)
def test_every_line_of_text_is_answered(lines: list[bytes]) -> None:
    talk = Talk()
    client = talk.join()
    mark = packet(c.ECHO_REQ, b"")
    clean = [line.replace(b"\n", b"") for line in lines if not line.startswith(b"\0")]

    for line in clean:
        client.say(line + b"\n")
        for question in talk.house.questions:
            question.answer(b".\n")
            client.connection.resume()
        talk.house.questions.clear()
        answer = ask(client, mark)

        assert answer.endswith(b"\n\0RES" + bytes((0, 0, 0, c.ECHO_RES, 0, 0, 0, 0)))
    assert not client.connection.closing
