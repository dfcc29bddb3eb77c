//! Tests of what is written, and of what is lost.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::config::Secret;
use crate::driver::journal::{
    Blocks, Damage, Entry, FILES, Reading, TailBlocks, tail_entries, tail_number,
};

fn put(sink: &mut ShardSink, content: Vec<u8>) -> Taken {
    sink.put(Kind::Entries, &Coder::default(), content)
}

fn folder(name: &str) -> PathBuf {
    let name = format!("bifrons-journal-{name}-{}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    let _ = fs::remove_dir_all(&folder);
    folder
}

fn pause() {
    let (_sender, receiver) = mpsc::channel::<()>();
    let _ = receiver.recv_timeout(Duration::from_millis(1));
}

fn config(folder: &Path, size: u64) -> Config {
    let mut config = Config::default();
    config.journal.folder = Some(folder.to_owned());
    config.journal.size = size;
    config.journal.tail = 0;
    config
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn blocks(file: &[u8]) -> Result<Vec<(u8, Kind, Vec<u8>)>, Damage> {
    let mut blocks = Blocks::new(file)?;
    let mut all = Vec::new();
    while let Some(block) = blocks.next_block()? {
        all.push((block.owner, block.kind, block.content.to_vec()));
    }
    Ok(all)
}

#[test]
fn what_shards_hand_over_is_in_the_file() {
    let folder = folder("whole");
    let mut config = config(&folder, 1 << 20);
    config.journal.tail = 1 << 20;
    let journal = Journal::start(&config, &folder, 2).unwrap();
    let (mut a, mut b) = (journal.sink(0).0, journal.sink(1).0);
    assert_eq!(
        a.put(Kind::Start, &Coder::default(), b"{}".to_vec()),
        Taken::Yes
    );
    assert_eq!(
        b.put(Kind::Start, &Coder::default(), b"{}".to_vec()),
        Taken::Yes
    );
    assert_eq!(put(&mut a, vec![1]), Taken::Yes);
    journal.finish("a test");
    assert_eq!(put(&mut a, vec![2]), Taken::No);
    let [path] = &files(&folder)[..] else {
        panic!("there is one file")
    };
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let all = blocks(&fs::read(path).unwrap()).unwrap();
    let owners: Vec<_> = all.iter().map(|(owner, kind, _)| (*owner, *kind)).collect();
    let wanted = [
        (PROCESS, Kind::Start),
        (0, Kind::Start),
        (1, Kind::Start),
        (0, Kind::Entries),
        (PROCESS, Kind::End),
    ];
    assert_eq!(owners, wanted);
    assert_eq!(all[4].2, b"a test");
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_full_journal_ends_and_says_so() {
    let folder = folder("full");
    let journal = Journal::start(&config(&folder, 64 << 10), &folder, 1).unwrap();
    let mut sink = journal.sink(0).0;
    let mut count = 0;
    while put(&mut sink, vec![0; 10_000]) == Taken::Yes {
        count += 1;
        pause();
        assert!(count < 1_000, "it never ends");
    }
    journal.finish("a test");
    let file = fs::read(&files(&folder)[0]).unwrap();
    assert!(file.len() <= (64 << 10) + 100, "{}", file.len());
    let all = blocks(&file).unwrap();
    let written = all.iter().filter(|block| block.1 == Kind::Entries).count();
    assert_eq!(sink.lost_bytes(), (count + 1 - written) as u64 * 10_000);
    assert_eq!(all.last().unwrap().2, b"it was full");
    assert!(all.len() < count + 2 && all.len() > 3);
    fs::remove_dir_all(&folder).unwrap();
}

/// A sink and a writer without their thread.
fn by_hand(folder: &Path, tail: u64) -> (ShardSink, Writer, mpsc::Receiver<Message>) {
    fs::create_dir_all(folder).unwrap();
    let (path, mut file) = create(folder).unwrap();
    file.write_all(MAGIC).unwrap();
    file.write_all(&head(PROCESS, Kind::Start, 0, b"")).unwrap();
    let shared = Arc::new(Shared {
        has_tail: tail > 0,
        ..Shared::default()
    });
    let (queue, messages) = mpsc::channel();
    let writer = Writer {
        file,
        path: path.clone(),
        shared: Arc::clone(&shared),
        left: u64::MAX,
        ring: (tail > 0).then(|| Ring::new(path, tail)),
        has_ended: false,
    };
    let sink = ShardSink {
        shared,
        queue,
        hurries: mpsc::channel().0,
        owner: 0,
        number: 0,
        has_gap: false,
    };
    (sink, writer, messages)
}

/// What is in the files of the tail, the oldest first.
fn tail(folder: &Path) -> Vec<Vec<u8>> {
    let mut paths = files(folder);
    paths.retain(|path| tail_number(path).is_some());
    paths.sort_by_key(|path| tail_number(path));
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Numbers of the blocks in the tail, and why it ends.
fn numbers(tail: &[Vec<u8>]) -> (Vec<u32>, Option<String>) {
    let (mut numbers, mut end) = (Vec::new(), None);
    for block in tail.iter().flat_map(|file| TailBlocks::new(file).unwrap()) {
        let block = block.unwrap();
        match block.kind {
            Kind::End => end = Some(String::from_utf8_lossy(block.content).into_owned()),
            Kind::Tail => numbers.push(block.number),
            Kind::Entries | Kind::Start => panic!("{block:?}"),
        }
    }
    (numbers, end)
}

#[test]
fn what_a_full_journal_does_not_take_goes_into_its_tail() {
    const TAIL: u64 = 128 << 10;
    let folder = folder("tail");
    let mut config = config(&folder, 64 << 10);
    config.journal.tail = TAIL;
    let journal = Journal::start(&config, &folder, 1).unwrap();
    let mut sink = journal.sink(0).0;
    let mut coder = Coder::default();
    for number in 0..200 {
        let reading = Reading {
            monotonic: number * 10,
            ..Reading::default()
        };
        let (before, mut entries) = (coder.clone(), Vec::new());
        coder.encode(&Entry::Now(reading), &mut entries);
        entries.resize(5_000, 2);
        assert_ne!(sink.put(Kind::Entries, &before, entries), Taken::No);
    }
    let waits = || sink.shared.waiting_bytes.load(Ordering::Relaxed) > 0;
    for _ in (0..5_000).take_while(|_| waits()) {
        pause();
    }
    assert_eq!(put(&mut sink, vec![1]), Taken::Tail);
    journal.finish("a test");
    assert_eq!(sink.lost_bytes(), 0);

    let path = files(&folder).remove(0);
    let all = blocks(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(all.last().unwrap().2, b"it was full");
    let in_journal = all.len() as u32 - 2;
    let tail = tail(&folder);
    assert_eq!(tail.len() as u64, FILES);
    assert!(tail.iter().map(Vec::len).sum::<usize>() as u64 <= TAIL);
    let (numbers, end) = numbers(&tail);
    assert!(
        numbers.len() >= (TAIL * 3 / 4 / 5_200) as usize,
        "{numbers:?}"
    );
    assert!(numbers[0] > in_journal && numbers.iter().copied().eq(numbers[0]..=200));
    assert_eq!(end.as_deref(), Some("a test"));
    let block = TailBlocks::new(&tail[0]).unwrap().next().unwrap().unwrap();
    let (before, _) = tail_entries(&block).unwrap();
    assert_eq!(before.reading().monotonic, u64::from(block.number - 1) * 10);
    for path in files(&folder) {
        let mode = fs::metadata(path).unwrap().permissions();
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777,
            0o600
        );
    }
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_first_blocks_after_the_end_of_the_journal_are_in_the_tail() {
    let folder = folder("seam");
    let (mut sink, mut writer, messages) = by_hand(&folder, 1 << 20);
    writer.left = 300;
    // The writer has not told anybody yet that the journal is full.
    for _ in 0..5 {
        assert_eq!(put(&mut sink, vec![0; 100]), Taken::Yes);
    }
    sink.queue.send(Message::End("a test")).unwrap();
    writer.run(&messages);
    assert_eq!(numbers(&tail(&folder)).0, [2, 3, 4]);
    assert_eq!(sink.lost_bytes(), 0);
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_disk_that_is_too_slow_ends_the_journal_and_leaves_a_gap_in_the_tail() {
    let folder = folder("slow");
    let (mut sink, mut writer, messages) = by_hand(&folder, 1 << 20);
    let most = Arc::clone(&sink.shared);
    for _ in 0..3 {
        assert_eq!(put(&mut sink, vec![0; 1_000]), Taken::Yes);
    }
    // As if so much waited.
    most.waiting_bytes
        .fetch_add(WAITING_BYTES_MAX, Ordering::Relaxed);
    assert_eq!(put(&mut sink, vec![0; 1_000]), Taken::Lost);
    assert_eq!(put(&mut sink, vec![0; 1_000]), Taken::Lost);
    most.waiting_bytes
        .fetch_sub(WAITING_BYTES_MAX, Ordering::Relaxed);
    assert_eq!(put(&mut sink, vec![0; 1_000]), Taken::Tail);
    assert_eq!(sink.lost_bytes(), 2_000);
    sink.queue.send(Message::End("a test")).unwrap();
    writer.run(&messages);
    assert_eq!(most.waiting_bytes.load(Ordering::Relaxed), 0);
    assert_eq!(sink.lost_bytes(), 2_000);

    let path = files(&folder).remove(0);
    let all = blocks(&fs::read(path).unwrap()).unwrap();
    assert_eq!(all.len(), 5);
    assert_eq!(all[4].2, TOO_SLOW.as_bytes());
    let wanted = (vec![5], Some("a test".to_owned()));
    assert_eq!(numbers(&tail(&folder)), wanted);
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn without_a_tail_a_disk_that_is_too_slow_ends_it_all() {
    let folder = folder("slow-end");
    let (mut sink, mut writer, messages) = by_hand(&folder, 0);
    let most = WAITING_BYTES_MAX + 1;
    sink.shared.waiting_bytes.fetch_add(most, Ordering::Relaxed);
    assert_eq!(put(&mut sink, vec![0; 1_000]), Taken::No);
    assert_eq!(put(&mut sink, vec![0; 1_000]), Taken::No);
    writer.run(&messages);
    assert_eq!(sink.lost_bytes(), 2_000);
    let [path] = &files(&folder)[..] else {
        panic!("there is one file")
    };
    let all = blocks(&fs::read(path).unwrap()).unwrap();
    assert_eq!(all[1].2, TOO_SLOW.as_bytes());
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_block_that_the_tail_cannot_hold_is_lost_and_told() {
    let folder = folder("too-large");
    let (mut sink, mut writer, messages) = by_hand(&folder, 8_000);
    writer.left = 0;
    for size in [100, 3_000, 100] {
        put(&mut sink, vec![0; size]);
    }
    sink.queue.send(Message::End("a test")).unwrap();
    writer.run(&messages);
    assert_eq!(numbers(&tail(&folder)).0, [0, 2]);
    assert_eq!(sink.lost_bytes(), 3_000);
    // That is what was shown before the writer was done.
    assert_eq!(sink.shared.lost_bytes.load(Ordering::Relaxed), 3_000);
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_could_not_be_replayed_is_not_recorded() {
    let mut config = Config::default();
    assert_eq!(hindrance(&config), None);
    config.http.secure_bind = config.http.bind.clone();
    assert!(hindrance(&config).is_some_and(|why| why.contains("TLS")));
    config.http.enabled = false;
    config.general.token_auth = TokenAuth::Signed(Secret::new("k"));
    assert!(hindrance(&config).is_some_and(|why| why.contains("signed")));
}
