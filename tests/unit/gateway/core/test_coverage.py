"""Gap rows and the account of an interval."""

from contracts.wire.footage import Gap, Span
from gateway.core.coverage import GapChange, GapLedger, GapRow, clip_gaps, merge_spans


def _row(start, end, cause, detail=""):
    return GapRow(from_ns=start, to_ns=end, cause=cause, detail=detail)


def test_a_stream_that_never_delivered_is_not_started():
    ledger = GapLedger()
    assert ledger.expect(100) == [GapChange(row=_row(100, None, "not_started"), is_new=True)]
    assert ledger.expect(200) == []
    assert ledger.interrupt(300, "no_media") == []


def test_a_gap_begins_where_recording_ended_and_ends_where_it_begins_again():
    ledger = GapLedger()
    ledger.record(100, 200)
    assert ledger.interrupt(900, "agent_disconnected")[0].row.from_ns == 200
    (closed,) = ledger.record(1000, 1100)
    assert closed == GapChange(row=_row(200, 1000, "agent_disconnected"), is_new=False)


def test_silence_is_refined_by_the_cause_that_is_learnt_later():
    ledger = GapLedger(recorded_to=200)
    ledger.interrupt(400, "no_media")
    (change,) = ledger.interrupt(500, "camera_unreachable", "拒绝连接")
    assert change == GapChange(row=_row(200, None, "camera_unreachable", "拒绝连接"), is_new=False)


def test_a_second_cause_ends_the_first_gap_when_it_was_learnt():
    ledger = GapLedger(recorded_to=200, lasting=_row(200, None, "gateway_crashed"))
    closed, opened = ledger.interrupt(700, "camera_unreachable")
    assert closed.row == _row(200, 700, "gateway_crashed")
    assert opened.row == _row(700, None, "camera_unreachable")


def test_our_own_absence_ends_when_we_are_back_even_if_nothing_comes():
    ledger = GapLedger(recorded_to=200, lasting=_row(200, None, "gateway_stopped"))
    closed, opened = ledger.interrupt(700, "no_media")
    assert (closed.row.to_ns, opened.row.from_ns) == (700, 700)


def test_a_stop_does_not_explain_the_silence_before_it():
    ledger = GapLedger(recorded_to=200)
    ledger.interrupt(400, "no_media")
    closed, opened = ledger.interrupt(700, "gateway_stopped")
    assert closed.row == _row(200, 700, "no_media")
    assert opened.row == _row(700, None, "gateway_stopped")


def test_useless_input_ends_whatever_was_missing_before():
    ledger = GapLedger()
    ledger.expect(100)
    closed, opened = ledger.interrupt(300, "no_media", "h265", supersedes=True)
    assert closed.row == _row(100, 300, "not_started")
    assert opened.row == _row(300, None, "no_media", "h265")


def test_the_same_cause_again_changes_nothing():
    ledger = GapLedger(recorded_to=200)
    ledger.interrupt(400, "disk_full", "满")
    assert ledger.interrupt(500, "disk_full", "满") == []


def test_a_run_that_begins_before_its_gap_leaves_an_empty_gap():
    """A camera sends what it had buffered during the outage."""
    ledger = GapLedger(recorded_to=200)
    ledger.interrupt(400, "no_media")
    assert ledger.record(150, 300)[0].row == _row(200, 200, "no_media")


def test_a_hole_that_nobody_announced_still_gets_a_row():
    ledger = GapLedger()
    ledger.record(100, 200)
    assert ledger.record(250, 300)[0].row.from_ns == 200


def test_what_turned_out_not_to_be_on_the_disk_is_a_gap():
    ledger = GapLedger()
    ledger.record(100, 300)
    assert ledger.lose(200, 300, "disk_error")[0].row == _row(200, None, "disk_error")
    assert ledger.record(400, 500)[0].row.to_ns == 400


def test_what_was_lost_before_a_lasting_gap_gets_a_closed_row():
    ledger = GapLedger()
    ledger.record(100, 300)
    ledger.interrupt(400, "no_media")
    assert ledger.lose(200, 300, "disk_error")[0].row == _row(200, 300, "disk_error")
    assert ledger.lasting == _row(300, None, "no_media")


def test_spans_are_cut_and_joined():
    spans = [(0, 10), (10, 20), (15, 30), (40, 50), (90, 200)]
    assert merge_spans(spans, 5, 100) == (
        Span(from_ns=5, to_ns=30),
        Span(from_ns=40, to_ns=50),
        Span(from_ns=90, to_ns=100),
    )


def test_gaps_are_cut_and_a_lasting_one_stays_open():
    rows = [
        _row(90, None, "no_media"),
        _row(0, 20, "disk_full"),
        _row(3, 4, "no_media"),
        _row(200, None, "no_media"),
    ]
    assert clip_gaps(rows, 10, 100) == (
        Gap(from_ns=10, to_ns=20, cause="disk_full"),
        Gap(from_ns=90, to_ns=None, cause="no_media"),
    )
