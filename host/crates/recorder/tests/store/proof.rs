//! Exports of real sessions, and what is found when they are changed.

use proptest::{prelude::*, sample::Index};
use sluicegate_core::{Denial, SessionId, record::Recorder, sessions::SessionReader};
use sluicegate_recorder::{
    SledRecorder,
    proof::{Chain, Fault, Head, PublicKey, Report, SigningKey, export as lines, verify},
};

use crate::support::{answered, closed, command, export, held, hold_ended, new_approval, new_id, opened, outcome};

struct Exported {
    text: String,
    session: SessionId,
    key: PublicKey,
}

/// A session with a head in its midst, because it is exported while it goes on.
async fn exported(commands: u64, ended: bool) -> Exported {
    let dir = tempfile::tempdir().unwrap();
    let recorder = SledRecorder::open(dir.path()).unwrap();
    let (store, session, approval) = (recorder.store(), new_id(), new_approval());
    recorder.append(opened(session, "alice")).await.unwrap();
    recorder.append(held(session, 1, approval)).await.unwrap();
    recorder.append(answered(session, 1, approval, true)).await.unwrap();
    recorder.flush().await.unwrap();
    assert!(!store.export(session, 0).unwrap().lines.is_empty());
    recorder.append(hold_ended(session, 1, approval, sluicegate_core::ApprovalState::Approved)).await.unwrap();
    for sequence in 1..=commands {
        recorder.append(command(session, sequence, (sequence == 2).then(|| Denial::gate("nö")))).await.unwrap();
        recorder.append(outcome(session, sequence)).await.unwrap();
        if sequence % 1000 == 0 {
            recorder.flush().await.unwrap();
        }
    }
    if ended {
        recorder.append(closed(session, commands)).await.unwrap();
    }
    recorder.flush().await.unwrap();
    let key = PublicKey::from_pem(&store.public_key()).unwrap();
    Exported { text: export(&store, session), session, key }
}

impl Exported {
    fn lines(&self) -> Vec<&str> {
        self.text.lines().collect()
    }

    fn check(&self, lines: &[&str]) -> Result<Report, Fault> {
        let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
        verify(text.as_bytes(), &self.key)
    }
}

#[tokio::test]
async fn an_export_verifies_and_says_how_far() {
    let ended = exported(3, true).await;
    let report = verify(ended.text.as_bytes(), &ended.key).unwrap();
    assert_eq!((report.session, report.entries, report.complete), (ended.session, 11, true));
    let opening = report.opening.unwrap();
    assert_eq!([&*opening.user, &*opening.target, &*opening.client], ["alice", "orders", "127.0.0.1:1"]);
    assert_eq!(report.key, ended.key.fingerprint().to_string());
    assert_eq!(ended.lines().len(), 1 + 11 + 2, "{}", ended.text);
    let open = exported(3, false).await;
    let report = verify(open.text.as_bytes(), &open.key).unwrap();
    assert_eq!((report.entries, report.complete), (10, false));
    let entry = serde_json::from_str::<serde_json::Value>(open.lines()[1]).unwrap();
    assert_eq!(entry["entry"]["event"]["opened"]["user"], "alice");
}

#[tokio::test]
async fn a_long_export_has_pages_and_verifies() {
    let long = exported(4000, true).await;
    assert!(long.text.len() > 3 * 1024 * 1024);
    let report = verify(long.text.as_bytes(), &long.key).unwrap();
    assert_eq!((report.entries, report.complete), (8005, true));
    assert!(long.lines().iter().filter(|line| line.starts_with("{\"head\"")).count() >= 3);
}

#[tokio::test]
async fn every_change_of_a_byte_is_found() {
    let whole = exported(1, true).await;
    let mut bytes = whole.text.clone().into_bytes();
    for at in 0..bytes.len() {
        let was = bytes[at];
        for flip in [1, 2, 4, 8, 16, 32, 64, 128] {
            bytes[at] = was ^ flip;
            assert!(verify(bytes.as_slice(), &whole.key).is_err(), "byte {at}: {was} to {}", was ^ flip);
        }
        bytes[at] = was;
    }
    assert!(verify(bytes.as_slice(), &whole.key).is_ok());
}

#[tokio::test]
async fn every_byte_that_is_missing_or_added_is_found() {
    let whole = exported(1, true).await;
    for at in 0..whole.text.len() {
        let mut bytes = whole.text.clone().into_bytes();
        let byte = bytes.remove(at);
        assert!(verify(bytes.as_slice(), &whole.key).is_err(), "byte {at} is gone");
        bytes.insert(at, byte);
        bytes.insert(at, b' ');
        assert!(verify(bytes.as_slice(), &whole.key).is_err(), "a space at {at}");
    }
    for added in ["\n", "{}\n", " \n", "x"] {
        assert!(verify((whole.text.clone() + added).as_bytes(), &whole.key).is_err());
        assert!(verify((added.to_owned() + &whole.text).as_bytes(), &whole.key).is_err());
    }
}

#[tokio::test]
async fn a_change_is_named_with_its_entry_and_line() {
    let whole = exported(3, true).await;
    let lines = whole.lines();
    // Lines count from 1: the header, entries 0 to 2, a head, entries 3 to 10, a head.
    let readable = lines[6].replace("public.orders", "public.others");
    let mut changed = lines.clone();
    changed[6] = &readable;
    assert!(matches!(whole.check(&changed), Err(Fault::Changed { number: 4, line: 7, .. })));
    let mut removed = lines.clone();
    removed.remove(6);
    assert!(matches!(whole.check(&removed), Err(Fault::Missing { first: 4, last: 4, line: 7 })));
    let mut removed = lines.clone();
    removed.drain(6..9);
    assert!(matches!(whole.check(&removed), Err(Fault::Missing { first: 4, last: 6, line: 7 })));
    let mut swapped = lines.clone();
    swapped.swap(6, 9);
    assert!(matches!(whole.check(&swapped), Err(Fault::OutOfOrder { number: 4, line: 7, found: 10 })));
    let mut doubled = lines.clone();
    doubled.insert(9, lines[6]);
    assert!(matches!(whole.check(&doubled), Err(Fault::Added { number: 4, line: 10 })));
    let mut last_gone = lines.clone();
    last_gone.remove(12);
    assert!(matches!(whole.check(&last_gone), Err(Fault::Missing { first: 10, last: 10, line: 13 })));
    let mut headless = lines.clone();
    headless.remove(4);
    assert!(matches!(whole.check(&headless), Err(Fault::Head { number: 10, line: 13, .. })));
    let mut two_heads = lines.clone();
    two_heads.insert(5, lines[4]);
    assert!(matches!(whole.check(&two_heads), Err(Fault::Head { number: 2, line: 6, .. })));
    assert!(matches!(whole.check(&lines[1..]), Err(Fault::Header(_))));
    assert!(matches!(whole.check(&lines[..1]), Err(Fault::Unended { line: 1 })));
    assert!(matches!(whole.check(&[]), Err(Fault::Unended { line: 0 })));
    let fault = whole.check(&swapped).unwrap_err();
    assert_eq!((fault.entry(), fault.line()), (Some(4), Some(7)));
}

#[tokio::test]
async fn what_is_cut_off_is_told() {
    let whole = exported(3, true).await;
    let lines = whole.lines();
    for kept in 0..lines.len() {
        match whole.check(&lines[..kept]) {
            // Behind the head in its midst it is proven up to there, and says that this is not all.
            Ok(report) => assert_eq!((kept, report.entries, report.complete), (5, 3, false)),
            Err(Fault::CutOff { number, line }) => {
                assert_eq!((line as usize, number), (kept, kept as u64 - if kept > 5 { 3 } else { 2 }));
            }
            Err(Fault::Unended { .. }) => assert!(kept < 2, "{kept}"),
            Err(fault) => panic!("{kept}: {fault}"),
        }
    }
    for cut in 1..whole.text.len() {
        if !whole.text.is_char_boundary(cut) || whole.text[..cut].ends_with('\n') {
            continue;
        }
        assert!(matches!(verify(&whole.text.as_bytes()[..cut], &whole.key), Err(Fault::Unended { .. })), "{cut}");
    }
}

#[tokio::test]
async fn another_key_or_session_does_not_pass() {
    let (one, other) = (exported(3, true).await, exported(3, true).await);
    assert!(matches!(verify(one.text.as_bytes(), &other.key), Err(Fault::OtherKey { .. })));
    // Even where the export is made to name the key that is given.
    let (ours, theirs) = (one.key.fingerprint().to_string(), other.key.fingerprint().to_string());
    let renamed = one.text.replace(&ours, &theirs);
    assert!(matches!(verify(renamed.as_bytes(), &other.key), Err(Fault::Head { number: 2, line: 5, .. })));
    let (lines, foreign) = (one.lines(), other.lines());
    for at in 1..lines.len() {
        let mut mixed = lines.clone();
        mixed[at] = foreign[at];
        let fault = one.check(&mixed).unwrap_err();
        assert_eq!(fault.line(), Some(at as u64 + 1), "{fault}");
    }
    let renamed = one.text.replacen(&one.session.to_string(), &other.session.to_string(), 1);
    assert!(matches!(verify(renamed.as_bytes(), &one.key), Err(Fault::Changed { number: 0, .. })));
}

#[test]
fn nothing_follows_the_end() {
    let key = SigningKey::from_pkcs8(SigningKey::generate().unwrap().as_ref()).unwrap();
    let session = new_id();
    let mut chain = Chain::new(session);
    let mut written = vec![lines::header(session, key.fingerprint())];
    for packed in [b"\x01", b"\x02"] {
        let (number, hash) = (chain.next(), chain.push(packed));
        written.push(lines::entry(number, packed, hash));
        written.push(lines::head(number, &Head { session, number, hash, at: 5, end: true }.sign(&key)));
    }
    let text: String = written.iter().map(|line| format!("{line}\n")).collect();
    let fault = verify(text.as_bytes(), key.public()).unwrap_err();
    assert!(matches!(fault, Fault::AfterEnd { number: 1, line: 4 }), "{fault}");
    let first = text.lines().take(3).map(|line| format!("{line}\n")).collect::<String>();
    assert!(verify(first.as_bytes(), key.public()).unwrap().complete);
}

#[tokio::test]
async fn a_line_without_end_is_not_read_to_its_end() {
    let whole = exported(1, true).await;
    let endless = std::io::Read::chain(whole.text.as_bytes(), std::io::BufReader::new(std::io::repeat(b'x')));
    assert!(matches!(verify(endless, &whole.key), Err(Fault::TooLong { .. })));
}

#[test]
fn whatever_is_done_to_the_lines_is_found_and_nothing_panics() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let whole = runtime.block_on(exported(5, true));
    let other = runtime.block_on(exported(5, true));
    let deed = prop_oneof![
        (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Deed::Move(a, b)),
        any::<Index>().prop_map(Deed::Remove),
        (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Deed::Copy(a, b)),
        (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Deed::Mix(a, b)),
        (any::<Index>(), any::<Index>(), any::<char>()).prop_map(|(a, b, c)| Deed::Write(a, b, c)),
    ];
    proptest!(|(deeds in proptest::collection::vec(deed, 1..5))| {
        let original: Vec<String> = whole.lines().into_iter().map(str::to_owned).collect();
        let mut lines = original.clone();
        for deed in deeds {
            deed.apply(&mut lines, &other.lines());
        }
        let text: Vec<_> = lines.iter().map(String::as_str).collect();
        let verified = whole.check(&text);
        // What is left of the original up to its head in the midst is an honest part of it.
        let honest = lines == original || lines == original[..5];
        prop_assert_eq!(verified.is_ok(), honest);
    });
}

#[derive(Debug, Clone)]
enum Deed {
    Move(Index, Index),
    Remove(Index),
    Copy(Index, Index),
    Mix(Index, Index),
    Write(Index, Index, char),
}

impl Deed {
    fn apply(self, lines: &mut Vec<String>, other: &[&str]) {
        if lines.is_empty() {
            return;
        }
        match self {
            Self::Move(from, to) => {
                let line = lines.remove(from.index(lines.len()));
                lines.insert(to.index(lines.len() + 1), line);
            }
            Self::Remove(at) => drop(lines.remove(at.index(lines.len()))),
            Self::Copy(from, to) => lines.insert(to.index(lines.len()), lines[from.index(lines.len())].clone()),
            Self::Mix(from, to) => lines.insert(to.index(lines.len()), other[from.index(other.len())].to_owned()),
            Self::Write(at, place, what) => {
                let index = at.index(lines.len());
                let line: Vec<char> = lines[index].chars().collect();
                let place = place.index(line.len() + 1);
                lines[index] = line[..place].iter().chain([&what]).chain(&line[place..]).collect();
            }
        }
    }
}
