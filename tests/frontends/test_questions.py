"""What only the store knows is answered later, in its place, and piece by piece if it is long."""

from __future__ import annotations

from geartrain.frontends.outbox import HOLE_BYTES
from geartrain.frontends.port import Bounds, Question
from geartrain.protocol import commands as c
from tests.frontends.talk import Line, Talk, TalkHouse


def sent(line: Line) -> bytes:
    """What a session would send now."""
    connection = line.connection
    if connection.owes():
        data = b"".join(connection.take_sendable())
        connection.out_bytes -= len(data)
        return data
    return line.take()


def test_an_answer_that_comes_late_stands_in_its_place(talk: Talk) -> None:
    line = talk.join()

    line.say(b"getpid\ndead show H:1\nversion\n")
    [question] = talk.house.questions
    assert (question.verb, question.words, question.paged) == (b"dead show", [b"H:1"], False)
    assert sent(line) == b"OK 0\n"
    question.answer(b"{}\n")

    assert sent(line) == b"{}\nOK 1.1.99\n"
    assert line.connection.out_bytes == 0


def test_answers_may_come_in_any_order(talk: Talk) -> None:
    line = talk.join()

    line.say(b"dead show 1\ndead show 2\n")
    first, second = talk.house.questions
    second.answer(b"two\n")
    assert sent(line) == b""
    first.answer(b"one\n")

    assert sent(line) == b"one\ntwo\n"


def test_a_list_comes_in_pieces_and_what_was_said_after_it_waits(talk: Talk) -> None:
    line = talk.join()

    line.say(b"dead list\ngetpid\n")
    pieces = []
    for number in range(3):
        [question] = talk.house.questions
        assert question.paged
        assert line.connection.held_back
        talk.house.questions.clear()
        question.answer(b"%d\n" % number, more=number < 2)
        pieces.append(sent(line))
        line.connection.resume()

    assert pieces == [b"0\n", b"1\n", b"2\n"]
    assert talk.house.questions == []
    assert sent(line) == b"OK 0\n"
    assert not line.connection.held_back


def test_a_piece_is_asked_for_once_however_often_there_is_room(talk: Talk) -> None:
    line = talk.join()
    line.say(b"dead list\n")

    line.connection.resume()
    line.connection.resume()
    line.say(b"version\n")

    assert len(talk.house.questions) == 1
    assert sent(line) == b""


def test_a_peer_that_does_not_read_is_told_no_more() -> None:
    bounds = Bounds()
    bounds.pause_output_bytes = 1000
    talk = Talk(bounds)
    line = talk.join()
    line.say(b"dead list\n")
    talk.house.questions.pop().answer(b"x" * 2000, more=True)

    line.connection.resume()
    assert talk.house.questions == []
    sent(line)
    line.connection.resume()

    assert len(talk.house.questions) == 1


def test_an_answer_for_a_peer_that_has_gone_is_lost(talk: Talk) -> None:
    line = talk.join()
    line.say(b"dead list\n")
    [question] = talk.house.questions
    line.leave()
    line.connection.hang_up()

    question.answer(b"late\n", more=True)

    assert line.connection.out == []
    assert question.peer.gone


class Knows(TalkHouse):
    """A house that answers at once."""

    def ask(self, question: Question) -> None:
        question.cursor += 1
        question.answer(b"%d\n" % question.cursor, more=question.paged and question.cursor < 4)


def test_a_house_may_answer_at_once() -> None:
    talk = Talk()
    talk.house = Knows(talk.broker, Bounds())
    line = talk.join()

    line.say(b"dead show x\ndead list\ngetpid\n")

    assert line.take() == b"1\n1\n2\n3\n4\nOK 0\n"
    assert not line.connection.held_back


def test_questions_wait_behind_submissions_that_are_being_stored() -> None:
    talk = Talk(durable=True)
    line = talk.join()
    line.send(c.SUBMIT_JOB_BG, b"f", b"", b"w")
    line.say(b"dead list\n")

    talk.house.questions.pop().answer(b".\n")
    assert sent(line) == b""
    assert line.connection.out_bytes == HOLE_BYTES + 2
    [job] = talk.broker.take_adds(10, 1000)
    talk.broker.stored(job)

    assert sent(line).endswith(job.handle + b".\n")
