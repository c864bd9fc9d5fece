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
        let Some(rest) = bytes.strip_prefix(HEAD) else {
            ensure!(
                !bytes.starts_with(b"adarem train "),
                "another version of train wrote it"
            );
            bail!("it is not a checkpoint of train");
        };
        let whole = |(_, sum): &(&[u8], &[u8; 4])| {
            CHECKSUM.checksum(&bytes[..bytes.len() - sum.len()]) == u32::from_le_bytes(**sum)
        };
        let (body, _) = rest
            .split_last_chunk()
            .filter(whole)
            .context("it is damaged: its length or checksum is wrong")?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Settings;

    fn folder(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("adarem-checkpoint-{name}-{}", std::process::id()))
    }

    fn refusal(path: &Path, bytes: &[u8]) -> String {
        fs::write(path, bytes).unwrap();
        format!("{:#}", load(path).unwrap_err())
    }

    #[test]
    fn a_file_that_is_not_as_it_was_is_refused() {
        let folder = folder("damaged");
        let path = folder.join("race");
        let race = Race::new(Settings::brief()).unwrap();
        save(&race, &path).unwrap();
        assert_eq!(load(&path).unwrap(), race);

        let whole = fs::read(&path).unwrap();
        for cut in [HEAD.len(), HEAD.len() + 4, whole.len() - 1] {
            assert!(refusal(&path, &whole[..cut]).ends_with("its length or checksum is wrong"));
        }
        for at in [HEAD.len(), whole.len() / 2, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            assert!(refusal(&path, &bytes).ends_with("its length or checksum is wrong"));
        }
        assert!(refusal(&path, b"").ends_with("it is not a checkpoint of train"));
        assert!(refusal(&path, b"[profile.release]").ends_with("it is not a checkpoint of train"));
        let newer = refusal(&path, b"adarem train 2\nsomething else");
        assert!(
            newer.ends_with("another version of train wrote it"),
            "{newer}"
        );
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file() {
        let folder = folder("atomic");
        let path = folder.join("race");
        let race = Race::new(Settings::brief()).unwrap();
        save(&race, &path).unwrap();
        // A folder stands where the new file would be made.
        fs::create_dir(folder.join("race.part")).unwrap();
        let error = save(
            &Race {
                stopped: None,
                ..race.clone()
            },
            &path,
        )
        .unwrap_err()
        .to_string();
        assert!(error.starts_with("cannot write the checkpoint "), "{error}");
        assert_eq!(load(&path).unwrap(), race);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_that_is_missing_is_named() {
        let error = format!("{:#}", load(Path::new("no/such/file")).unwrap_err());
        assert!(
            error.starts_with("cannot read the checkpoint no/such/file: "),
            "{error}"
        );
    }
}
