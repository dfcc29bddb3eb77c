//! Time, closing, and clients that go away.

use super::*;

#[test]
fn a_connection_that_stays_silent_is_closed_silently() {
    let mut rig = Rig::new();
    rig.pass(10 * S - NS);
    assert_eq!(rig.take_actions(), []);
    assert_eq!(rig.pass(NS), Some(Expired::FirstByte));
    assert_eq!(rig.take_actions(), [ConnAction::Close]);
    assert!(rig.taken.is_empty() && rig.conn.is_closed());
}

#[test]
fn a_head_has_ten_seconds_in_all() {
    let mut rig = Rig::new();
    rig.pass(9 * S);
    for byte in get("/").as_bytes().iter().take(10) {
        rig.receive([*byte]);
        rig.pass(S - NS);
    }
    assert_eq!(rig.take_actions(), []);
    assert_eq!(rig.pass(10 * NS), Some(Expired::Head));
    assert_eq!(rig.refused(), (408, Some(Refusal::SlowHead)));
}

#[test]
fn a_body_has_to_make_progress() {
    let mut rig = Rig::new();
    rig.receive(post("/", "").replace(": 0", ": 100000"));
    rig.pass(20 * S);
    rig.receive([b'x'; 50_000]);
    rig.pass(10 * S);
    assert_eq!(rig.take_actions(), []);
    rig.pass(20 * S - NS);
    assert_eq!(rig.take_actions(), []);
    assert_eq!(rig.pass(NS), Some(Expired::Body));
    assert_eq!(rig.refused(), (408, Some(Refusal::SlowBody)));
    assert_eq!(rig.shared.bodies_bytes(), 0);

    let mut rig = Rig::new();
    rig.receive(post("/", &"x".repeat(50_000)).replace(": 50000", ": 100000"));
    assert_eq!(rig.pass(30 * S), Some(Expired::Body));
}

#[test]
fn a_body_has_to_come_at_a_kibibyte_a_second() {
    for (rate, stays) in [(1_024, true), (1_000, false)] {
        let mut rig = Rig::new();
        rig.receive(post("/", "").replace(": 0", ": 100000"));
        for _ in 0..65 {
            rig.receive(vec![b'x'; rate]);
            rig.pass(S);
        }
        assert_eq!(
            !rig.conn.is_closed() && rig.conn.take_refusal().is_none(),
            stays,
            "{rate}"
        );
    }
}

#[test]
fn the_rate_of_a_body_is_that_of_the_last_thirty_seconds() {
    let mut rig = Rig::new();
    rig.receive(post("/", &"x".repeat(60_000)).replace(": 60000", ": 100000"));
    for second in 1..=60 {
        rig.receive("x");
        let expected = (second == 60).then_some(Expired::Body);
        assert_eq!(rig.pass(S), expected, "{second}");
    }
}

#[test]
fn a_connection_that_is_kept_alive_may_be_idle_for_75_seconds() {
    let mut rig = Rig::new();
    rig.receive(get("/"));
    rig.echo();
    rig.take_actions();
    rig.pass(75 * S - NS);
    assert_eq!(rig.take_actions(), []);
    assert_eq!(rig.pass(NS), Some(Expired::Idle));
    assert_eq!(rig.take_actions(), [ConnAction::Close]);
}

#[test]
fn an_answer_that_is_not_taken_for_30_seconds_is_reset() {
    let mut rig = Rig::new();
    rig.receive(get("/"));
    rig.next().unwrap();
    rig.pass(300 * S);
    rig.respond(&Response::json(b"{}")).unwrap();
    for _ in 0..5 {
        rig.pass(30 * S - NS);
        rig.write(1);
    }
    rig.take_actions();
    rig.pass(30 * S - NS);
    assert_eq!(rig.take_actions(), []);
    assert_eq!(rig.pass(NS), Some(Expired::Write));
    assert_eq!(rig.take_actions(), [ConnAction::Abort]);
    assert!(rig.conn.is_gone());
}

#[test]
fn a_request_in_work_has_no_deadline_here() {
    let mut rig = Rig::new();
    rig.receive(get("/"));
    rig.next().unwrap();
    assert_eq!(rig.conn.deadline(&rig.shared), None);
    assert_eq!(rig.conn.park(&mut rig.shared, rig.now), Parked::Waiting);
    assert_eq!(rig.conn.deadline(&rig.shared), None);
    rig.pass(100_000 * S);
    assert_eq!(rig.take_actions(), []);
}

#[test]
fn requests_on_a_kept_connection_do_not_arm_timers() {
    let mut rig = Rig::new();
    let mut armed = 0;
    for _ in 0..1_000 {
        rig.receive(get("/"));
        armed += usize::from(rig.conn.timer(&rig.shared).is_some());
        rig.next().unwrap();
        rig.respond(&Response::json(b"{}")).unwrap();
        armed += usize::from(rig.conn.timer(&rig.shared).is_some());
        rig.write_all();
        armed += usize::from(rig.conn.timer(&rig.shared).is_some());
        rig.now.monotonic = rig.now.monotonic + Duration::from_millis(1);
    }
    assert_eq!(armed, 1);
    rig.pass(29 * S);
    assert!(!rig.conn.is_closed(), "the timer was early");
    let deadline = rig.conn.deadline(&rig.shared);
    assert_eq!(rig.conn.timer(&rig.shared), deadline);
    assert_eq!(rig.conn.timer(&rig.shared), None, "it is armed already");
}

#[test]
fn closing_lingers_until_the_client_closes_too() {
    let mut rig = Rig::new();
    rig.receive("BAD\r\n\r\n");
    assert_eq!(rig.take_actions(), [ConnAction::Write]);
    rig.write(5);
    assert_eq!(rig.take_actions(), [ConnAction::Write]);
    rig.write_all();
    assert_eq!(rig.take_actions(), [ConnAction::ShutdownWrite]);
    rig.receive([0; 1_000]);
    assert_eq!(rig.take_actions(), []);
    rig.eof();
    assert_eq!(rig.take_actions(), [ConnAction::Close]);
}

#[test]
fn lingering_is_bounded_by_time_and_bytes() {
    let mut rig = Rig::new();
    rig.receive("BAD\r\n\r\n");
    rig.write_all();
    assert_eq!(rig.pass(2 * S - NS), None);
    assert!(!rig.conn.is_closed());
    assert_eq!(rig.pass(NS), Some(Expired::Linger));
    assert!(rig.conn.is_closed());

    let mut rig = Rig::new();
    rig.receive("BAD\r\n\r\n");
    rig.write_all();
    rig.receive(vec![0; 256 * 1024]);
    assert!(!rig.conn.is_closed());
    rig.receive([0]);
    assert!(rig.conn.is_closed());

    let mut rig = Rig::new();
    rig.receive("BAD\r\n\r\n");
    rig.receive(vec![0; 256 * 1024 + 1]);
    assert_eq!(
        rig.take_actions(),
        [ConnAction::Write, ConnAction::PauseRead]
    );
    rig.write_all();
    assert_eq!(rig.take_actions(), [ConnAction::Close]);
    assert_eq!(rig.answers()[0].status, 400);
}

#[test]
fn reading_goes_on_for_lingering_if_it_was_paused() {
    let mut rig = Rig::with(Limits {
        pipelined_bytes: 10,
        ..Limits::default()
    });
    rig.receive(
        [
            get("/").replace("x\r\n", "x\r\nConnection: close\r\n"),
            get("/"),
        ]
        .concat(),
    );
    rig.next().unwrap();
    assert_eq!(rig.take_actions(), [ConnAction::PauseRead]);
    rig.respond(&Response::json(b"{}")).unwrap();
    rig.write_all();
    assert_eq!(
        rig.take_actions(),
        [
            ConnAction::Write,
            ConnAction::ResumeRead,
            ConnAction::ShutdownWrite
        ]
    );
}

#[test]
fn a_half_closed_client_gets_the_answers_that_are_due_at_once() {
    let mut rig = Rig::new();
    rig.receive([get("/1"), get("/2"), get("/3")[..10].to_owned()].concat());
    rig.eof();
    assert_eq!(rig.next().unwrap().head.path(), "/1");
    rig.respond(&Response::json(b"1")).unwrap();
    assert_eq!(rig.next().unwrap().head.path(), "/2");
    rig.respond(&Response::json(b"2")).unwrap();
    assert_eq!(rig.next(), None);
    assert!(!rig.conn.is_gone());
    rig.write_all();
    assert_eq!(
        rig.take_actions(),
        [ConnAction::Write, ConnAction::Write, ConnAction::Close]
    );
    assert_eq!(rig.answers().len(), 2);
}

#[test]
fn a_half_closed_client_that_reads_slowly_gets_all_its_answers() {
    let mut rig = Rig::with(Limits {
        out_bytes: 4_000,
        ..Limits::default()
    });
    rig.receive([get("/1"), get("/2")].concat());
    rig.next().unwrap();
    rig.respond(&Response::json(&[b' '; 1_000])).unwrap();
    rig.eof();
    assert_eq!(rig.next(), None);
    rig.write(1_000);
    assert_eq!(rig.next().unwrap().head.path(), "/2");
    rig.respond(&Response::json(b"2")).unwrap();
    rig.write_all();
    assert_eq!(rig.answers().len(), 2);
    assert!(rig.conn.is_closed());
}

#[test]
fn the_last_answer_to_a_half_closed_client_says_so() {
    let mut rig = Rig::new();
    rig.receive(get("/"));
    rig.next().unwrap();
    rig.eof();
    rig.respond(&Response::json(b"{}")).unwrap();
    rig.write_all();
    assert_eq!(rig.answers()[0].field("Connection"), Some("close"));
    assert_eq!(rig.take_actions(), [ConnAction::Write, ConnAction::Close]);
}

#[test]
fn a_client_that_half_closes_during_a_poll_is_gone() {
    let mut rig = Rig::new();
    rig.receive(get("/1"));
    rig.next().unwrap();
    assert_eq!(rig.conn.park(&mut rig.shared, rig.now), Parked::Waiting);
    assert!(rig.conn.is_waiting() && !rig.conn.is_gone());
    rig.eof();
    assert!(rig.conn.is_gone() && !rig.conn.is_waiting());
    assert_eq!(rig.take_actions(), [ConnAction::Close]);
    assert_eq!(rig.respond(&Response::json(b"{}")), None);

    let mut rig = Rig::new();
    rig.receive(get("/1"));
    rig.eof();
    rig.next().unwrap();
    assert_eq!(rig.conn.park(&mut rig.shared, rig.now), Parked::Gone);
    rig.collect();
    assert!(rig.conn.is_gone());
    assert_eq!(rig.take_actions(), [ConnAction::Close]);
}

#[test]
fn a_poll_that_was_answered_is_no_poll_any_more() {
    let mut rig = Rig::new();
    rig.receive(get("/1"));
    rig.next().unwrap();
    rig.conn.park(&mut rig.shared, rig.now);
    rig.respond(&Response::json(b"{}")).unwrap();
    rig.eof();
    assert!(!rig.conn.is_gone());
    rig.write_all();
    assert_eq!(rig.answers().len(), 1);
    assert_eq!(rig.conn.taken(), rig.taken.len() as u64);
}

#[test]
fn a_client_that_closes_between_or_within_requests_is_let_go() {
    for input in [
        String::new(),
        get("/")[..10].to_owned(),
        post("/", "").replace(": 0", ": 5"),
    ] {
        let mut rig = Rig::new();
        rig.receive(&input);
        rig.eof();
        assert_eq!(rig.take_actions(), [ConnAction::Close], "{input}");
        assert!(rig.taken.is_empty() && rig.conn.pending().is_empty());
    }
}

#[test]
fn a_broken_connection_is_over_in_every_state() {
    for step in 0..4 {
        let mut rig = Rig::new();
        if step > 0 {
            rig.receive(post("/", "abc").replace(": 3", ": 5"));
        }
        if step > 1 {
            rig.receive("de");
            rig.next().unwrap();
        }
        if step > 2 {
            rig.respond(&Response::json(b"{}")).unwrap();
        }
        rig.take_actions();
        rig.conn.reset(&mut rig.shared);
        rig.collect();
        assert_eq!(rig.take_actions(), [ConnAction::Close]);
        assert!(rig.conn.is_closed() && rig.conn.is_gone());
        assert_eq!(rig.shared.bodies_bytes(), 0);
        rig.receive(get("/"));
        rig.eof();
        rig.pass(1_000 * S);
        assert_eq!((rig.next(), rig.take_actions()), (None, vec![]));
        assert_eq!(rig.conn.deadline(&rig.shared), None);
    }
}

#[test]
fn draining_closes_idle_connections_and_others_with_their_answer() {
    let mut rig = Rig::new();
    rig.conn.close_when_done();
    assert!(rig.conn.close_if_idle(&mut rig.shared, rig.now));
    rig.collect();
    assert_eq!(rig.take_actions(), [ConnAction::Close]);

    let mut rig = Rig::new();
    rig.receive(&get("/")[..5]);
    rig.conn.close_when_done();
    assert!(!rig.conn.close_if_idle(&mut rig.shared, rig.now));
    rig.receive(&get("/")[5..]);
    rig.echo();
    assert_eq!(rig.answers()[0].field("Connection"), Some("close"));
    assert_eq!(
        rig.take_actions(),
        [ConnAction::Write, ConnAction::ShutdownWrite]
    );

    let mut rig = Rig::new();
    rig.receive(get("/"));
    rig.next().unwrap();
    rig.respond(&Response::json(b"{}")).unwrap();
    rig.conn.close_when_done();
    assert!(!rig.conn.close_if_idle(&mut rig.shared, rig.now));
    assert_eq!(rig.take_actions(), [ConnAction::Write]);
    rig.write_all();
    assert_eq!(rig.take_actions(), []);
    assert!(rig.conn.close_if_idle(&mut rig.shared, rig.now));
    rig.collect();
    assert_eq!(rig.take_actions(), [ConnAction::ShutdownWrite]);
    assert_eq!(rig.answers()[0].field("Connection"), None);
}

#[test]
fn a_request_that_meets_the_end_of_a_draining_connection_is_answered() {
    let mut rig = Rig::new();
    rig.receive(get("/"));
    rig.echo();
    rig.conn.close_when_done();
    // In one turn the kernel takes the last byte of an answer, and the next request is there.
    rig.write_all();
    rig.receive(get("/next"));
    assert!(!rig.conn.close_if_idle(&mut rig.shared, rig.now));
    rig.echo();
    rig.write_all();
    let answers = rig.answers();
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0].field("Connection"), None);
    assert_eq!(answers[1].field("Connection"), Some("close"));
    assert_eq!(rig.take_actions().last(), Some(&ConnAction::ShutdownWrite));
}

#[test]
fn a_draining_connection_is_half_closed_while_its_client_may_still_read() {
    let mut rig = Rig::new();
    rig.receive(get("/"));
    rig.echo();
    rig.write_all();
    rig.take_actions();
    rig.conn.close_when_done();
    rig.pass(S);
    assert!(rig.conn.close_if_idle(&mut rig.shared, rig.now));
    rig.collect();
    assert_eq!(rig.take_actions(), [ConnAction::ShutdownWrite]);
    rig.receive(get("/too-late"));
    assert_eq!(rig.next(), None);
    rig.eof();
    assert_eq!(rig.take_actions(), [ConnAction::Close]);

    let mut rig = Rig::new();
    rig.receive(get("/"));
    rig.echo();
    rig.write_all();
    rig.take_actions();
    rig.conn.close_when_done();
    rig.pass(2 * S);
    assert!(rig.conn.close_if_idle(&mut rig.shared, rig.now));
    rig.collect();
    assert_eq!(rig.take_actions(), [ConnAction::Close]);
}

#[test]
fn an_empty_line_between_requests_begins_none() {
    let mut rig = Rig::new();
    rig.receive(get("/"));
    rig.echo();
    rig.write(usize::MAX);
    rig.receive("\r");
    rig.receive("\n");
    assert!(rig.conn.is_idle());
    assert_eq!(rig.pass(Duration::from_secs(74)), None);
    rig.receive(get("/later"));
    rig.echo();
    rig.write(usize::MAX);
    rig.receive("\r\n");
    assert_eq!(rig.pass(Duration::from_secs(75)), Some(Expired::Idle));
    assert!(rig.conn.is_closed());
    assert_eq!(rig.conn.take_refusal(), None);
}

#[test]
fn a_second_empty_line_is_refused_however_late_it_comes() {
    let mut rig = Rig::new();
    rig.receive("\r\n");
    rig.pass(Duration::from_secs(20));
    rig.receive("\r\n");
    let refusal = rig.conn.take_refusal().unwrap();
    assert_eq!(refusal.status(), Status::BadRequest);
}
