//! A race in a file: written whole or not at all, and refused if a bit of it is not as it was.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, bail, ensure};

use super::Race;

/// What a file begins with: whose it is, and the version of its layout.
const HEAD: &[u8] = b"adarem train 1\n";
const CHECKSUM: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// Writes a race into the file at `path`, and makes the folders on the way. A file that was there
/// stays as it was until the new one is complete on the disk.
///
/// # Errors
/// If the file cannot be written.
pub fn save(race: &Race, path: &Path) -> anyhow::Result<()> {
    let write = || -> anyhow::Result<()> {
        let mut bytes = postcard::to_extend(race, HEAD.to_vec())?;
        bytes.extend(CHECKSUM.checksum(&bytes).to_le_bytes());
        Ok(replace(path, &bytes)?)
    };
    write().with_context(|| format!("cannot write the checkpoint {}", path.display()))
}

/// Reads the race in the file at `path`.
///
/// # Errors
/// If the file cannot be read, is not a checkpoint of this program, was made by another version of
/// it, or is damaged.
pub fn load(path: &Path) -> anyhow::Result<Race> {
    let read = || -> anyhow::Result<Race> {
        let bytes = fs::read(path)?;
        let (text, sum) = bytes.split_last_chunk::<4>().unwrap_or((&bytes, &[0; 4]));
        let Some(body) = text.strip_prefix(HEAD) else {
            ensure!(!bytes.starts_with(b"adarem train "), "another version of train wrote it");
            bail!("it is not a checkpoint of train");
        };
        let whole = CHECKSUM.checksum(text) == u32::from_le_bytes(*sum);
        ensure!(whole, "it is damaged: its checksum is wrong");
        Ok(postcard::from_bytes(body)?)
    };
    read().with_context(|| format!("cannot read the checkpoint {}", path.display()))
}

/// Puts `bytes` into the file at `path` at one stroke: whoever looks, even after a crash, finds the
/// old file or the new one.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut beside: OsString = path.into();
    beside.push(".part");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}
