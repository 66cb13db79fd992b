//! Tells that the store went back in time. sled drops without a word what it cannot read of its log, so a number
//! that grows with each flush is kept twice: in the store, in the same write as what is flushed, and, once that is on
//! disk, in a file beside it. A crash at any moment leaves the store's number as high as the file's or higher. Only
//! where something was lost that was on disk is it lower. A file that is not there, or was cut off, says nothing:
//! stores were made before there were marks.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use sled::Batch;

use crate::{error::StoreError, format::MARK_KEY, store::Store};

/// The file's name within the data folder.
const FILE: &str = "record.mark";

/// The two numbers.
pub(crate) struct Mark {
    file: File,
    stored: u64,
    noted: u64,
}

impl Mark {
    /// The mark of this store, whose file is under `data_dir`; makes the file if there is none.
    pub(crate) fn open(store: &Store, data_dir: &Path) -> Result<Self, StoreError> {
        let path = data_dir.join(FILE);
        let opened = OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(&path);
        let file = opened.map_err(|source| StoreError::Folder { path, source })?;
        let mut noted = [0; 8];
        let is_whole = file.read_exact_at(&mut noted, 0).is_ok();
        let stored = store.get(MARK_KEY)?.and_then(|value| value.as_ref().try_into().ok());
        Ok(Self {
            file,
            stored: stored.map_or(0, u64::from_be_bytes),
            noted: if is_whole { u64::from_be_bytes(noted) } else { 0 },
        })
    }

    /// Whether the store lacks something that was on disk before.
    pub(crate) fn tells_loss(&self) -> bool {
        self.stored < self.noted
    }

    /// Puts the next number into what is about to be written and flushed.
    pub(crate) fn advance(&mut self, batch: &mut Batch) {
        self.stored = self.stored.wrapping_add(1);
        batch.insert(MARK_KEY, &self.stored.to_be_bytes());
    }

    /// Notes that this number is on disk in the store. The file itself need not be: one that is behind says nothing.
    pub(crate) fn note(&mut self) -> io::Result<()> {
        self.noted = self.stored;
        self.file.write_all_at(&self.noted.to_be_bytes(), 0)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn open(data_dir: &Path) -> (Store, Mark) {
        let (store, _, mark) = Store::open(data_dir).unwrap();
        (store, mark)
    }

    /// Whether opening it tells of a loss; what is opened then goes on as the writer does.
    fn tells_loss(data_dir: &Path) -> bool {
        let (store, mut mark) = open(data_dir);
        let told = mark.tells_loss();
        flush(&store, &mut mark);
        mark.note().unwrap();
        told
    }

    fn flush(store: &Store, mark: &mut Mark) {
        let mut batch = Batch::default();
        mark.advance(&mut batch);
        store.write(batch).unwrap();
        store.sync().unwrap();
    }

    #[test]
    fn a_store_that_was_left_in_any_state_of_a_flush_tells_of_no_loss() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        assert!(!tells_loss(folder.path()), "there was nothing before");
        assert!(!tells_loss(folder.path()), "the flush was whole");
        {
            let (store, mut mark) = open(folder.path());
            flush(&store, &mut mark);
        }
        assert!(!tells_loss(folder.path()), "the number was not noted yet");
        for content in [&[][..], &[0xff; 7]] {
            fs::write(&file, content).unwrap();
            assert!(!tells_loss(folder.path()), "the file did not reach the disk");
        }
        fs::remove_file(&file).unwrap();
        assert!(!tells_loss(folder.path()), "the store was made before there were marks");
    }

    #[test]
    fn a_store_that_is_older_than_its_mark_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        assert!(!tells_loss(folder.path()));
        fs::remove_dir_all(folder.path().join("record")).unwrap();
        assert!(tells_loss(folder.path()) && !tells_loss(folder.path()));
        fs::write(&file, [0xff; 8]).unwrap();
        assert!(tells_loss(folder.path()) && !tells_loss(folder.path()), "a file that is damaged itself");
    }
}
