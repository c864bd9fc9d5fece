//! Names of wrappers around rules, put together at compile time.

use core::marker::PhantomData;

use adarem::Rule;

/// The bytes of a name, at most.
const MOST: usize = 96;

/// What a wrapper is called, as in `lookahead`.
pub(crate) trait Wraps {
    const WRAPPER: &'static str;
    type Inner: Rule;
}

/// The name of a wrapper around a rule: `lookahead(adarem)`.
pub(crate) struct Name<W>(PhantomData<W>);

impl<W: Wraps> Name<W> {
    const PARTS: [&'static [u8]; 4] =
        [W::WRAPPER.as_bytes(), b"(", W::Inner::NAME.as_bytes(), b")"];

    const LEN: usize = {
        let (mut len, mut part) = (0, 0);
        while part < Self::PARTS.len() {
            len += Self::PARTS[part].len();
            part += 1;
        }
        assert!(
            len <= MOST,
            "too many wrappers around a rule: their names are too long"
        );
        len
    };

    const BYTES: [u8; MOST] = {
        let (mut bytes, mut at, mut part) = ([0; MOST], 0, 0);
        while part < Self::PARTS.len() {
            let mut k = 0;
            while k < Self::PARTS[part].len() {
                bytes[at] = Self::PARTS[part][k];
                at += 1;
                k += 1;
            }
            part += 1;
        }
        bytes
    };

    const ALL: &'static [u8; MOST] = &Self::BYTES;

    pub(crate) const OF: &'static str = match core::str::from_utf8(Self::ALL.split_at(Self::LEN).0)
    {
        Ok(name) => name,
        Err(_) => panic!("parts of UTF-8 make UTF-8"),
    };
}
