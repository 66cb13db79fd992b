//! The key that signs the record, as files.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    process::Command,
};

use sluicegate_core::sessions::SessionReader;
use sluicegate_recorder::{SledRecorder, Store, StoreError, proof::PublicKey};

use crate::support::mode;

#[test]
fn the_key_is_made_once_and_others_cannot_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let first = SledRecorder::open(dir.path()).unwrap().store().public_key();
    assert_eq!(mode(&dir.path().join("record.key")) & 0o777, 0o600);
    assert_eq!(fs::read_to_string(dir.path().join("record.pub")).unwrap(), first);
    assert_eq!(SledRecorder::open(dir.path()).unwrap().store().public_key(), first);
    assert_eq!(Store::open_existing(dir.path()).unwrap().public_key(), first);
    fs::remove_file(dir.path().join("record.pub")).unwrap();
    assert_eq!(SledRecorder::open(dir.path()).unwrap().store().public_key(), first);
}

#[test]
fn openssl_reads_the_public_key_and_names_it_alike() {
    let dir = tempfile::tempdir().unwrap();
    let key = PublicKey::from_pem(&SledRecorder::open(dir.path()).unwrap().store().public_key()).unwrap();
    let run =
        "openssl pkey -pubin -in record.pub -outform DER | sha256sum; openssl pkey -pubin -in record.pub -noout -text";
    let output = Command::new("sh").arg("-c").arg(run).current_dir(dir.path()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with(&key.fingerprint().to_string()) && said.contains("ED25519 Public-Key"), "{said}");
}

#[test]
fn a_key_that_is_not_as_it_should_be_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (private, public) = (dir.path().join("record.key"), dir.path().join("record.pub"));
    let refusal = || SledRecorder::open(dir.path()).err().unwrap();
    drop(SledRecorder::open(dir.path()).unwrap());
    fs::set_permissions(&private, Permissions::from_mode(0o640)).unwrap();
    assert!(refusal().to_string().contains("chmod 600"), "{}", refusal());
    fs::set_permissions(&private, Permissions::from_mode(0o600)).unwrap();

    let other = tempfile::tempdir().unwrap();
    drop(SledRecorder::open(other.path()).unwrap());
    let ours = fs::read(&public).unwrap();
    fs::copy(other.path().join("record.pub"), &public).unwrap();
    assert!(refusal().to_string().contains("not the public half"), "{}", refusal());
    fs::write(&public, &ours).unwrap();

    let bytes = fs::read(&private).unwrap();
    fs::write(&private, b"no key").unwrap();
    assert!(matches!(refusal(), StoreError::NoKey(_)), "{}", refusal());
    fs::remove_file(&private).unwrap();
    assert!(refusal().to_string().contains("restore it from a backup"), "{}", refusal());
    assert!(!private.exists());
    fs::write(&private, bytes).unwrap();
    fs::set_permissions(&private, Permissions::from_mode(0o600)).unwrap();
    drop(SledRecorder::open(dir.path()).unwrap());
}
