//! The driver against a platform that is moved by hand.

use std::io;
use std::time::Duration;

use super::mock::{Offload, Stage};
use super::platform::{Arrival, News};
use super::scripted::pattern;
use crate::shard::Control;

const ROOM: usize = 1 << 20;

#[test]
fn a_burst_of_requests_is_one_turn() {
    let mut stage = Stage::new(100);
    let wires: Vec<_> = (0..50).map(|_| stage.connect(ROOM)).collect();
    for wire in &wires {
        wire.send("echo hello\n");
    }
    assert_eq!(stage.settle(), 1);
    assert!(wires.iter().all(|wire| wire.written() == b"hello\n"));
}

#[test]
fn sources_beyond_the_budget_of_a_turn_are_served_in_the_next() {
    let mut stage = Stage::new(300);
    let wires: Vec<_> = (0..200).map(|_| stage.connect(ROOM)).collect();
    for wire in &wires {
        wire.send("echo hello\n");
    }
    assert!(stage.settle() > 1);
    assert!(wires.iter().all(|wire| wire.written() == b"hello\n"));
}

#[test]
fn a_slow_reader_gets_everything_and_holds_up_nobody() {
    let mut stage = Stage::new(10);
    let slow = stage.connect(1_000);
    let quick = stage.connect(ROOM);
    slow.send("big 5000000\n");
    quick.send("echo x\n");
    stage.settle();
    assert_eq!((slow.written().len(), quick.written().len()), (1_000, 2));
    while slow.written().len() < 5_000_000 {
        slow.make_room(700_000);
        assert!(stage.settle() > 0);
    }
    assert!(slow.written().into_iter().eq(pattern(5_000_000)));
}

#[test]
fn a_large_answer_is_written_in_portions_between_turns_of_others() {
    let mut stage = Stage::new(10);
    let wire = stage.connect(usize::MAX);
    wire.send("big 5000000\n");
    assert!(stage.settle() > 1);
    assert!(wire.written().into_iter().eq(pattern(5_000_000)));
}

#[test]
fn output_goes_out_before_the_close_that_follows_it() {
    for (verb, end) in [("close", "closed"), ("fin", "fin")] {
        let mut stage = Stage::new(10);
        let wire = stage.connect(3);
        wire.send(&format!("echo hello\n{verb}\n"));
        stage.settle();
        assert_eq!(wire.end(), None);
        wire.make_room(ROOM);
        stage.settle();
        assert_eq!(
            (wire.written(), wire.end()),
            (b"hello\n".to_vec(), Some(end))
        );
    }
}

#[test]
fn nothing_is_read_of_a_connection_after_the_core_has_ended_it() {
    // The scripted core panics at input for a connection that it has ended.
    for verb in ["close", "abort"] {
        let mut stage = Stage::new(10);
        let wire = stage.connect(ROOM);
        wire.send(&format!("{verb}\n"));
        wire.send("echo too late\n");
        stage.settle();
        assert!(wire.end().is_some());
        assert_eq!(wire.written(), b"");
    }
}

#[test]
fn a_pause_holds_within_the_turn_and_loses_nothing() {
    let mut stage = Stage::new(10);
    let wire = stage.connect(ROOM);
    wire.send("pause 50\n");
    wire.send("echo later\n");
    stage.settle();
    stage.pass(Duration::from_millis(49));
    assert_eq!(wire.written(), b"");
    stage.pass(Duration::from_millis(1));
    assert_eq!(wire.written(), b"later\n");
}

#[test]
fn an_end_of_input_leaves_the_output_open() {
    let mut stage = Stage::new(10);
    let wire = stage.connect(3);
    wire.send("echo hello\n");
    wire.send("");
    stage.settle();
    wire.make_room(ROOM);
    stage.settle();
    assert_eq!(
        (wire.written(), wire.end()),
        (b"hello\n".to_vec(), Some("closed"))
    );
}

#[test]
fn a_reset_ends_a_connection_once_also_with_output_under_way() {
    let mut stage = Stage::new(10);
    let wire = stage.connect(3);
    wire.send("echo hello\n");
    stage.settle();
    wire.arrive(Err(io::ErrorKind::ConnectionReset.into()));
    stage.settle();
    wire.make_room(ROOM);
    stage.settle();
    assert_eq!(
        (wire.written(), wire.end()),
        (b"hel".to_vec(), Some("closed"))
    );
    assert_eq!(stage.stop().tcp_failed, 1);
}

#[test]
fn connections_beyond_the_limit_are_reset_and_counted() {
    let mut stage = Stage::new(2);
    let kept = [stage.connect(ROOM), stage.connect(ROOM)];
    let shed = stage.connect(ROOM);
    assert_eq!(shed.end(), Some("aborted"));
    kept[0].send("close\n");
    stage.settle();
    let next = stage.connect(ROOM);
    next.send("echo in\n");
    stage.settle();
    assert_eq!(next.written(), b"in\n");
    let counters = stage.stop();
    assert_eq!((counters.tcp_shed, counters.tcp_accepted), (1, 3));
}

#[test]
fn a_listener_without_descriptors_rests_and_comes_back() {
    let mut stage = Stage::new(10);
    stage.knock(Err(io::Error::from_raw_os_error(24)));
    stage.settle();
    let polls = stage.accept_polls();
    // Whoever knocks meanwhile does not wake it.
    stage.knock(Ok(super::mock::Wire::with_room(ROOM)));
    stage.settle();
    stage.pass(Duration::from_millis(99));
    assert_eq!(stage.accept_polls(), polls);
    stage.pass(Duration::from_millis(1));
    let counters = stage.stop();
    assert_eq!((counters.tcp_accepted, counters.tcp_accept_errors), (1, 1));
}

#[test]
fn an_error_of_one_connection_does_not_rest_the_listener() {
    let mut stage = Stage::new(10);
    stage.knock(Err(io::ErrorKind::ConnectionAborted.into()));
    let wire = stage.connect(ROOM);
    wire.send("echo hi\n");
    stage.settle();
    assert_eq!(wire.written(), b"hi\n");
}

#[test]
fn a_deadline_comes_when_it_was_set_whatever_was_armed_before() {
    let mut stage = Stage::new(10);
    let wire = stage.connect(ROOM);
    // The later one is armed first, then an earlier one, then one between.
    wire.send("tick 100\n");
    stage.settle();
    wire.send("tick 10\ntick 60\n");
    stage.settle();
    for (passed, lines) in [(9, 0), (1, 1), (49, 1), (1, 2), (39, 2), (1, 3)] {
        stage.pass(Duration::from_millis(passed));
        assert_eq!(wire.written(), b"0\n".repeat(lines));
    }
}

#[test]
fn merged_datagrams_are_handed_over_one_by_one() {
    let mut stage = Stage::new(10);
    stage.datagram(&[1; 250], 100);
    stage.settle();
    // Two of 100 and one of 50, back to one destination: one run.
    assert_eq!(stage.sent(), [(250, 100)]);
}

#[test]
fn runs_end_where_the_size_changes() {
    let mut stage = Stage::new(10);
    for size in [100, 100, 40, 100, 200] {
        stage.datagram(&vec![1; size], size);
    }
    stage.settle();
    assert_eq!(stage.sent(), [(240, 100), (100, 100), (200, 200)]);
}

#[test]
fn a_run_is_no_longer_than_the_kernel_takes() {
    let mut stage = Stage::new(10);
    stage.datagram(b"run 100 1200", 12);
    stage.settle();
    let sent = stage.sent();
    assert_eq!(sent, [(53 * 1_200, 1_200), (47 * 1_200, 1_200)]);
}

#[test]
fn without_offload_datagrams_go_out_alone() {
    let mut stage = Stage::new(10);
    stage.set_offload(Offload::Broken);
    stage.datagram(b"run 3 10", 8);
    stage.settle();
    assert_eq!(stage.sent(), [(10, 10); 3]);
    assert_eq!(stage.stop().udp_send_dropped, 0);
}

#[test]
fn datagrams_wait_for_the_kernel_up_to_a_bound() {
    let mut stage = Stage::new(10);
    stage.set_udp_room(Some(0));
    stage.datagram(b"run 5000 10", 11);
    stage.settle();
    assert_eq!(stage.sent(), []);
    stage.set_udp_room(None);
    stage.pass(Duration::from_millis(1));
    let bytes: usize = stage.sent().iter().map(|(bytes, _)| bytes).sum();
    assert_eq!(bytes, 4_096 * 10);
    let counters = stage.stop();
    assert_eq!((counters.udp_sent, counters.udp_send_dropped), (4_096, 904));
}

#[test]
fn what_waits_for_the_kernel_keeps_its_order() {
    let mut stage = Stage::new(10);
    let mut sent = Vec::new();
    // Each is longer than the one before, so that none of them share a call; two come while there is
    // room for one.
    for turn in 0..10 {
        stage.set_udp_room(Some(1));
        for size in [2 * turn + 1, 2 * turn + 2] {
            stage.datagram(&vec![1; size], size);
        }
        stage.settle();
        sent.extend(stage.sent());
        stage.pass(Duration::from_millis(1));
    }
    assert!((2..20).contains(&sent.len()));
    stage.set_udp_room(None);
    stage.pass(Duration::from_millis(1));
    sent.extend(stage.sent());
    assert_eq!(sent, (1..=20).map(|size| (size, size)).collect::<Vec<_>>());
    assert_eq!(stage.stop().udp_send_dropped, 0);
}

#[test]
fn sockets_are_opened_before_what_is_sent_by_them_and_the_core_is_told() {
    let mut stage = Stage::new(10);
    for command in [
        "open 1 5",
        "send 1 30",
        "open 2 9",
        "send 2 40",
        "close 1",
        "send 1 50",
    ] {
        stage.datagram(command.as_bytes(), command.len());
    }
    stage.settle();
    // By the second socket nothing leaves, and nothing by the first once it is closed.
    assert_eq!(stage.sent(), []);
    for command in ["open 1 5", "send 1 30", "send 2 40"] {
        stage.datagram(command.as_bytes(), command.len());
    }
    stage.settle();
    assert_eq!(stage.sent(), [(30, 30)]);
    assert_eq!(stage.stop().udp_send_dropped, 4);
}

#[test]
fn a_name_that_is_looked_up_comes_back() {
    let mut stage = Stage::new(10);
    stage.datagram(b"look", 4);
    stage.settle();
    // The core greets whom it has found.
    assert_eq!(stage.sent(), [(77, 77)]);
}

#[test]
fn a_file_that_is_written_is_told_of() {
    let mut stage = Stage::new(10);
    stage.datagram(b"write", 5);
    stage.settle();
    assert_eq!(stage.sent(), [(88, 88)]);
}

#[test]
fn a_flood_of_datagrams_lets_connections_through() {
    let mut stage = Stage::new(10);
    let wire = stage.connect(ROOM);
    for _ in 0..1_000 {
        stage.datagram(b"x", 1);
    }
    wire.send("echo hello\n");
    // After one turn already.
    stage.settle_once();
    assert_eq!(wire.written(), b"hello\n");
    stage.settle();
    assert_eq!(
        stage.sent().iter().map(|(bytes, _)| bytes).sum::<usize>(),
        1_000
    );
}

#[test]
fn a_shard_that_takes_its_turns_says_so_when_asked() {
    let mut stage = Stage::new(10);
    stage.settle();
    assert_eq!(stage.news(), []);
    stage.arrive(Arrival::Beat);
    stage.settle();
    stage.arrive(Arrival::Beat);
    stage.settle();
    assert_eq!(stage.news(), [News::Alive, News::Alive]);
}

#[test]
fn a_drained_shard_goes_on_until_all_are() {
    let mut stage = Stage::new(10);
    let wire = stage.connect(ROOM);
    stage.arrive(Arrival::Control(Control::Stop));
    stage.settle();
    wire.send("echo hello\n");
    stage.settle();
    assert_eq!(wire.written(), b"hello\n");
    stage.arrive(Arrival::Control(Control::Drain));
    stage.stop();
}

#[test]
fn the_core_knows_after_each_turn_what_the_driver_counted() {
    let mut stage = Stage::new(10);
    let wires = [(); 3].map(|()| stage.connect(ROOM));
    stage.settle();
    wires[0].send("report\n");
    stage.settle();
    assert_eq!(wires[0].written(), b"3 5\n");
}
