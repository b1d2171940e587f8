//! A small disk for tests of what happens when it is full, or may not be written.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::folder::Folder;

/// A file system of a few megabytes, a quarter of them in a file that can be deleted. Goes with its owner.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    _folder: Folder,
}

impl Disk {
    /// `None` where tests may not make one.
    pub fn new(megabytes: usize) -> Result<Option<Self>> {
        let folder = Folder::new()?;
        let path = folder.file("small");
        fs::create_dir(&path)?;
        let size = format!("size={megabytes}m,mode=777");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path);
        if !mount.status().is_ok_and(|status| status.success()) {
            eprintln!("left out: only root can make a small disk");
            return Ok(None);
        }
        let disk = Self { path, _folder: folder };
        fs::write(disk.file(FILLER), vec![0; megabytes << 18])?;
        Ok(Some(disk))
    }

    /// A file on it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes room.
    pub fn free(&self) -> Result<()> {
        Ok(fs::remove_file(self.file(FILLER))?)
    }

    /// Lets nobody write on it, or everybody again; not while a file is open to be written.
    pub fn read_only(&self, read_only: bool) -> Result<()> {
        let how = if read_only { "remount,ro" } else { "remount,rw" };
        let status = Command::new("mount").args(["-o", how]).arg(&self.path).status()?;
        ensure!(status.success(), "mount -o {how}: {status}");
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).status();
    }
}

/// What can be deleted.
const FILLER: &str = "filler";
