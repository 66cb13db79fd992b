//! What a crash leaves. Each test starts this very binary once more as a child that records, kills
//! it or fills its disk, and then looks at what is in the store.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "helpers of tests")]

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use sluicegate_core::{
    Approval, ApprovalId, ApprovalState, SessionId,
    record::{CommandEntry, Entry, Event, HoldEnded, Recorder, now},
    sessions::{ApprovalFilter, ApprovalReader, SessionFilter, SessionReader},
};
use sluicegate_recorder::{
    SledRecorder, Store,
    proof::{PublicKey, verify},
};
use uuid::Uuid;

/// The folder that a child records into; without it the children are no tests.
const DATA_DIR: &str = "RECORD_TEST_DATA_DIR";
const SESSIONS: u128 = 3;
/// What `ordered` recording may lose: the flush interval, and what a busy machine adds to it.
const MAY_BE_LOST: Duration = Duration::from_millis(200 + 800);

#[test]
fn a_kill_loses_nothing_that_a_flush_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    for round in 1..=3 {
        let mut child = start("child_flushes", dir.path(), "exec");
        let mut acknowledged = 0;
        let enough = 40 * round;
        for line in lines(&mut child) {
            let Some(sequence) = line.strip_prefix("acknowledged ") else { continue };
            acknowledged = sequence.parse().unwrap();
            if acknowledged >= enough {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(acknowledged >= enough, "the child was killed while it wrote");
        interrupted(dir.path(), acknowledged);
        let kept = shortest(dir.path());
        assert!(kept >= acknowledged, "{kept} kept of {acknowledged} acknowledged");
        std::fs::remove_dir_all(dir.path().join("record")).unwrap();
    }
}

#[test]
fn a_kill_without_flushes_loses_the_last_interval_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = start("child_appends", dir.path(), "exec");
    let start = Instant::now();
    let mut appended = Vec::new();
    for line in lines(&mut child) {
        let Some(sequence) = line.strip_prefix("appended ") else { continue };
        appended.push((Instant::now(), sequence.parse::<u64>().unwrap()));
        if start.elapsed() > 3 * MAY_BE_LOST {
            child.kill().unwrap();
            break;
        }
    }
    let killed = Instant::now();
    child.wait().unwrap();
    let must = appended.iter().rev().find(|(at, _)| killed - *at > MAY_BE_LOST).unwrap().1;
    let kept = shortest(dir.path());
    assert!(kept >= must, "{kept} kept, {must} appended long before the kill");
}

#[test]
fn a_full_disk_ends_recording_and_keeps_what_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    // Files of the child may have 4 MiB (in units of 512 bytes), and it is told so by an error.
    let mut child = start("child_fills_the_disk", dir.path(), "ulimit -f 8192; trap '' XFSZ; exec");
    let (mut acknowledged, mut failed) = (0, String::new());
    for line in lines(&mut child) {
        if let Some(sequence) = line.strip_prefix("acknowledged ") {
            acknowledged = sequence.parse().unwrap();
        } else if let Some(error) = line.strip_prefix("failed ") {
            failed = error.to_owned();
        }
    }
    assert!(child.wait().unwrap().success(), "the child found appends that passed after the failure");
    assert!(failed.contains("the record cannot be written"), "{failed}");
    assert!(acknowledged > 100, "{acknowledged}");
    let kept = shortest(dir.path());
    assert!(kept >= acknowledged, "{kept} kept of {acknowledged} acknowledged");
}

#[tokio::test]
#[ignore = "a child of the tests above"]
async fn child_flushes() {
    let Some(recorder) = child() else { return };
    for sequence in 1.. {
        append(&recorder, sequence, 100).await.unwrap();
        for number in 1..=SESSIONS {
            recorder.append(held(number, sequence)).await.unwrap();
            // Of two holds the first one ends.
            if sequence % 2 == 1 {
                recorder.append(hold_ended(number, sequence)).await.unwrap();
            }
        }
        recorder.flush().await.unwrap();
        println!("acknowledged {sequence}");
    }
}

#[tokio::test]
#[ignore = "a child of the tests above"]
async fn child_appends() {
    let Some(recorder) = child() else { return };
    for sequence in 1.. {
        append(&recorder, sequence, 100).await.unwrap();
        println!("appended {sequence}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
#[ignore = "a child of the tests above"]
async fn child_fills_the_disk() {
    let Some(recorder) = child() else { return };
    let mut sequence = 0;
    let error = loop {
        sequence += 1;
        if let Err(error) = append(&recorder, sequence, 4000).await {
            break error;
        }
        match recorder.flush().await {
            Ok(()) => println!("acknowledged {sequence}"),
            Err(error) => break error,
        }
    };
    println!("failed {error}");
    let failed = tokio::time::timeout(Duration::from_secs(5), recorder.failed()).await.unwrap();
    assert_eq!(failed.to_string(), error.to_string());
    assert!(append(&recorder, sequence + 1, 1).await.is_err());
    assert!(recorder.flush().await.is_err());
    assert!(recorder.close().await.is_err());
}

fn child() -> Option<SledRecorder> {
    let dir = std::env::var_os(DATA_DIR)?;
    Some(SledRecorder::open(Path::new(&dir)).unwrap())
}

async fn append(
    recorder: &SledRecorder,
    sequence: u64,
    noise: usize,
) -> Result<(), sluicegate_core::record::RecordError> {
    for number in 1..=SESSIONS {
        recorder.append(command(session(number), sequence, noise)).await?;
    }
    Ok(())
}

fn session(number: u128) -> SessionId {
    SessionId(Uuid::from_u128(number))
}

/// A command whose text does not compress.
fn command(session: SessionId, sequence: u64, noise: usize) -> Entry {
    let mut text = String::new();
    while text.len() < noise {
        text.push_str(&Uuid::now_v7().simple().to_string());
    }
    let event = Event::Command(CommandEntry {
        sequence,
        verb: "query".to_owned(),
        text,
        cut: false,
        resources: Vec::new(),
        parameters: 0,
        values: Vec::new(),
        denial: None,
        approval: None,
        opinions: Vec::new(),
    });
    Entry { session, at: now(), event }
}

/// Starts a child test under a shell, which sets its limits and becomes it.
fn start(test: &str, dir: &Path, shell: &str) -> Child {
    let binary = std::env::current_exe().unwrap();
    Command::new("sh")
        .arg("-c")
        .arg(format!("{shell} \"$0\" --exact {test} --ignored --nocapture"))
        .arg(binary)
        .env(DATA_DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn lines(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok)
}

/// Starts the recorder again and checks that it says the truth about what the kill cut off.
fn interrupted(dir: &Path, acknowledged: u64) {
    let recorder = SledRecorder::open(dir).unwrap();
    let store = recorder.store();
    let key = PublicKey::from_pem(&store.public_key()).unwrap();
    for number in 1..=SESSIONS {
        let summary = store.summary(session(number)).unwrap().unwrap();
        assert_eq!(summary.ended.as_deref(), Some("interrupted"));
        let (mut text, mut from) = (String::new(), Some(0));
        while let Some(next) = from {
            let page = store.export(session(number), next).unwrap();
            page.lines.iter().for_each(|line| text.extend([line, "\n"]));
            from = page.next;
        }
        let report = verify(text.as_bytes(), &key).unwrap();
        assert!(report.complete && report.entries == summary.entries, "{report:?}");
        for sequence in 1..=acknowledged {
            let approval = store.approval(approval_id(number, sequence)).unwrap().unwrap();
            let stands = if sequence % 2 == 1 { ApprovalState::Expired } else { ApprovalState::Abandoned };
            assert_eq!(approval.state, stands);
            assert!(stands == ApprovalState::Expired || approval.ended == "the gateway stopped");
        }
    }
    let pending = ApprovalFilter { state: Some(ApprovalState::Pending), limit: 10, ..ApprovalFilter::default() };
    assert_eq!(store.list_approvals(&pending).unwrap().items, []);
}

fn approval_id(number: u128, sequence: u64) -> ApprovalId {
    ApprovalId(Uuid::from_u128(number << 64 | u128::from(sequence)))
}

fn held(number: u128, sequence: u64) -> Entry {
    let text = String::new;
    let approval = Approval {
        id: approval_id(number, sequence),
        session: session(number),
        sequence,
        requester: text(),
        target: text(),
        protocol: text(),
        client: text(),
        digest: text(),
        verb: text(),
        text: text(),
        cut: false,
        hidden: false,
        context: text(),
        resources: Vec::new(),
        parameters: 0,
        values: Vec::new(),
        kinds: Vec::new(),
        in_transaction: false,
        requirements: Vec::new(),
        requested_at: now(),
        expires_at: now(),
        state: ApprovalState::Pending,
        answers: Vec::new(),
        ended_at: None,
        ended: text(),
    };
    Entry { session: session(number), at: now(), event: Event::Held(Box::new(approval)) }
}

fn hold_ended(number: u128, sequence: u64) -> Entry {
    let approval = approval_id(number, sequence);
    let ended = HoldEnded { approval, sequence, state: ApprovalState::Expired, reason: "expired".to_owned() };
    Entry { session: session(number), at: now(), event: Event::HoldEnded(ended) }
}

/// How many commands the session with the fewest has; the sequences must have no gaps.
fn shortest(dir: &Path) -> u64 {
    let store = Store::open_existing(dir).unwrap();
    let filter = SessionFilter { limit: 100, ..SessionFilter::default() };
    let listed = store.list(&filter).unwrap().items;
    assert_eq!(listed.len() as u128, SESSIONS);
    (1..=SESSIONS).map(|number| gapless(&store, session(number))).min().unwrap()
}

fn gapless(store: &Store, session: SessionId) -> u64 {
    let (mut count, mut from) = (0, Some(0));
    while let Some(next) = from {
        let page = store.entries(session, next).unwrap();
        from = page.next;
        for entry in page.entries {
            let Event::Command(command) = entry.entry.event else { continue };
            count += 1;
            assert_eq!(command.sequence, count, "the record has a gap");
        }
    }
    assert_eq!(store.summary(session).unwrap().unwrap().commands, count);
    count
}
