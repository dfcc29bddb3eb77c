//! Tests of how entries lie in a journal.

use std::net::{Ipv6Addr, SocketAddrV6};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// An entry with bytes of its own.
#[derive(Clone, Debug)]
enum Owned {
    Bytes(ConnId, Vec<u8>),
    Configure(String),
    Datagram(SockId, SocketAddr, Vec<u8>, bool),
    Plain(Entry<'static>),
}

impl Owned {
    fn entry(&self) -> Entry<'_> {
        match self {
            Self::Bytes(conn, bytes) => Entry::Bytes { conn: *conn, bytes },
            Self::Configure(config) => Entry::Configure { config },
            Self::Datagram(sock, from, bytes, is_whole) => Entry::Datagram {
                sock: *sock,
                from: *from,
                size: bytes.len(),
                bytes: is_whole.then_some(bytes),
            },
            Self::Plain(entry) => entry.clone(),
        }
    }
}

fn address() -> impl Strategy<Value = SocketAddr> {
    let v4 = any::<([u8; 4], u16)>().prop_map(SocketAddr::from);
    let v6 = any::<([u8; 16], u16, u32, u32)>().prop_map(|(ip, port, flow, scope)| {
        SocketAddrV6::new(Ipv6Addr::from(ip), port, flow, scope).into()
    });
    prop_oneof![v4, v6]
}

fn counters() -> impl Strategy<Value = Counters> {
    any::<[u64; COUNTERS]>().prop_map(whole)
}

fn owned() -> impl Strategy<Value = Owned> {
    let conn = || any::<u64>().prop_map(ConnId);
    let maybe_address = || proptest::option::of(address());
    let plain = prop_oneof![
        conn().prop_map(|conn| Entry::Closed { conn }),
        Just(Entry::Drain),
        any::<(bool, u64)>().prop_map(|(panicked, hash)| Entry::End {
            how: if panicked {
                End::Panicked
            } else {
                End::InOrder
            },
            hash,
        }),
        conn().prop_map(|conn| Entry::Eof { conn }),
        Just(Entry::Flush),
        (any::<u64>(), maybe_address()).prop_map(|(id, address)| Entry::LookedUp {
            id: LookupId(id),
            address,
        }),
        any::<u8>().prop_map(|from| Entry::Mesh {
            from: ShardId(from)
        }),
        any::<(u64, u64, i64)>().prop_map(|(monotonic, boottime, realtime)| {
            Entry::Now(Reading {
                monotonic,
                boottime,
                realtime,
            })
        }),
        (conn(), 0..LISTENERS.len(), address()).prop_map(|(conn, index, peer)| Entry::Opened {
            conn,
            listener: LISTENERS[index],
            peer,
        }),
        any::<i32>().prop_map(Entry::Signal),
        vec(any::<u8>(), 0..9)
            .prop_map(|shards| Entry::Silent(shards.into_iter().map(ShardId).collect())),
        (any::<u16>(), maybe_address()).prop_map(|(sock, bound)| Entry::SocketOpened {
            sock: SockId(sock),
            bound,
        }),
        Just(Entry::Stop),
        Just(Entry::Tick),
        (counters(), any::<u32>()).prop_map(|(counters, hash)| Entry::Turn { counters, hash }),
        any::<(u64, bool)>().prop_map(|(id, is_written)| Entry::Written {
            id: FileId(id),
            written: if is_written {
                Written::Yes
            } else {
                Written::No
            },
        }),
        (conn(), any::<usize>()).prop_map(|(conn, count)| Entry::Wrote { conn, count }),
    ];
    prop_oneof![
        8 => plain.prop_map(Owned::Plain),
        1 => (conn(), vec(any::<u8>(), 0..99)).prop_map(|(c, bytes)| Owned::Bytes(c, bytes)),
        1 => ".{0,40}".prop_map(Owned::Configure),
        1 => (any::<u16>(), address(), vec(any::<u8>(), 0..99), any::<bool>())
            .prop_map(|(sock, from, bytes, all)| Owned::Datagram(SockId(sock), from, bytes, all)),
    ]
}

fn encoded(entries: &[Owned]) -> Vec<u8> {
    let (mut coder, mut bytes) = (Coder::default(), Vec::new());
    for entry in entries {
        coder.encode(&entry.entry(), &mut bytes);
    }
    bytes
}

proptest! {
    #[test]
    fn what_is_written_is_read(entries in vec(owned(), 0..20)) {
        let bytes = encoded(&entries);
        let (mut coder, mut rest) = (Coder::default(), &bytes[..]);
        for entry in &entries {
            prop_assert_eq!(coder.decode(&mut rest), Ok(Some(entry.entry())));
        }
        prop_assert_eq!(coder.decode(&mut rest), Ok(None));
    }

    #[test]
    fn what_ends_early_is_broken_or_shorter(entries in vec(owned(), 1..8), cut in any::<usize>()) {
        let bytes = encoded(&entries);
        let mut rest = &bytes[..cut % bytes.len()];
        let mut coder = Coder::default();
        let mut count = 0;
        let end = loop {
            match coder.decode(&mut rest) {
                Ok(Some(entry)) => prop_assert_eq!(entry, entries[count].entry()),
                end => break end,
            }
            count += 1;
        };
        prop_assert!(count < entries.len());
        prop_assert!(end == Err(Broken) || rest.is_empty());
    }

    #[test]
    fn who_knows_the_state_can_begin_anywhere(entries in vec(owned(), 0..20), at in any::<usize>()) {
        let at = at % (entries.len() + 1);
        let (mut coder, mut bytes) = (Coder::default(), Vec::new());
        for (index, entry) in entries.iter().enumerate() {
            if index == at {
                bytes.clear();
                coder.encode_state(&mut bytes);
            }
            coder.encode(&entry.entry(), &mut bytes);
        }
        if at == entries.len() {
            bytes.clear();
            coder.encode_state(&mut bytes);
        }
        let mut rest = &bytes[..];
        let mut reader = Coder::of_state(&mut rest).unwrap();
        for entry in &entries[at..] {
            prop_assert_eq!(reader.decode(&mut rest), Ok(Some(entry.entry())));
        }
        prop_assert_eq!(reader.decode(&mut rest), Ok(None));
        prop_assert_eq!(reader, coder);
    }

    #[test]
    fn any_bytes_are_taken_without_harm(bytes in vec(any::<u8>(), 0..200)) {
        let (mut coder, mut rest) = (Coder::default(), &bytes[..]);
        while let Ok(Some(_)) = coder.decode(&mut rest) {}
    }
}

#[test]
fn an_idle_turn_is_small() {
    let counters = |turns| Counters {
        turns,
        ..Counters::default()
    };
    let reading = |micros: u64| Reading {
        monotonic: micros * 1_000,
        boottime: 77_000_000 + micros * 1_000,
        realtime: 1_790_000_000_000_000 + micros.cast_signed(),
    };
    let (mut coder, mut bytes) = (Coder::default(), Vec::new());
    let mut turn = |number, hash| {
        bytes.clear();
        coder.encode(&Entry::Now(reading(number * 900)), &mut bytes);
        coder.encode(&Entry::Flush, &mut bytes);
        let counters = counters(number);
        coder.encode(&Entry::Turn { counters, hash }, &mut bytes);
        bytes.len()
    };
    turn(1, 0);
    assert_eq!(turn(2, 1), 13);
}
