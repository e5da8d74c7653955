//! Words of commands, folded to upper case in a form that hashes and compares in a few instructions.

/// Longest word the table may hold, in bytes. The longest of any known server has 25.
const LONGEST: usize = 31;

/// An upper-case word: its bytes in four numbers, padded with zeros, and its length in the very last byte, so
/// that equality of the numbers is equality of the words even when a word contains zeros.
///
/// Numbers, not an array of bytes: a word of a request stays in registers from reading it to comparing it.
/// Copied byte by byte into an array and read back in larger pieces it takes twice as long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word([u64; 4]);

impl Word {
    /// No word: what rows hold before they are numbered.
    pub(super) const EMPTY: Word = Word([0; 4]);

    /// `bytes` with ASCII letters in upper case, as the server compares names; `None` if they are longer than any
    /// command's name.
    #[inline]
    pub(super) const fn fold(bytes: &[u8]) -> Option<Word> {
        let length = bytes.len() as u64;
        let word = if bytes.len() <= 8 {
            [upper(load(bytes)), 0, 0, 0]
        } else if bytes.len() <= LONGEST {
            let (first, rest) = bytes.split_at(8);
            let (second, rest) = take_eight(rest);
            let (third, fourth) = take_eight(rest);
            [upper(load(first)), upper(load(second)), upper(load(third)), upper(load(fourth))]
        } else {
            return None;
        };
        Some(Word([word[0], word[1], word[2], word[3] | (length << 56)]))
    }

    /// A hash of the word under `salt`, in the number's high bits. The four multiplications do not wait for
    /// each other; the constants are odd with well-mixed bits. Nobody can choose the table's words, so it
    /// need not resist attacks.
    #[inline]
    pub(super) const fn hash(&self, salt: u16) -> u64 {
        let Word([first, second, third, fourth]) = *self;
        first.wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ second.wrapping_mul(0xc2b2_ae3d_27d4_eb4f)
            ^ third.wrapping_mul(0x1656_67b1_9e37_79f9)
            ^ (fourth ^ ((salt as u64) << 16)).wrapping_mul(0x85eb_ca77_c2b2_ae63)
    }
}

/// The first eight bytes, or all, and the rest.
#[inline]
const fn take_eight(bytes: &[u8]) -> (&[u8], &[u8]) {
    if bytes.len() < 8 { (bytes, &[]) } else { bytes.split_at(8) }
}

/// At most eight bytes as a number, the first one lowest. Four to seven are read as two overlapping halves:
/// where they overlap they agree.
#[inline]
const fn load(bytes: &[u8]) -> u64 {
    if let Some(eight) = bytes.first_chunk::<8>() {
        return u64::from_le_bytes(*eight);
    }
    if let (Some(low), Some(high)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let (low, high) = (u32::from_le_bytes(*low) as u64, u32::from_le_bytes(*high) as u64);
        return low | (high << (8 * (bytes.len() - 4)));
    }
    match *bytes {
        [a] => u64::from_le_bytes([a, 0, 0, 0, 0, 0, 0, 0]),
        [a, b] => u64::from_le_bytes([a, b, 0, 0, 0, 0, 0, 0]),
        [a, b, c] => u64::from_le_bytes([a, b, c, 0, 0, 0, 0, 0]),
        _ => 0,
    }
}

/// Eight bytes at once: clears bit 5 of each that is an ASCII lower-case letter.
#[inline]
const fn upper(bytes: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let low_bits = bytes & (0x7f * EACH);
    // Bit 7 of each byte: at least `a`, above `z`, is ASCII. No sum carries into the next byte.
    let at_least_a = low_bits + (0x80 - b'a' as u64) * EACH;
    let above_z = low_bits + (0x7f - b'z' as u64) * EACH;
    let ascii = !bytes & (0x80 * EACH);
    bytes ^ ((ascii & (at_least_a ^ above_z)) >> 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_case_of_ascii_letters_is_ignored() {
        assert_eq!(Word::fold(b"get"), Word::fold(b"GeT"));
        assert_eq!(Word::fold(b"bf.add"), Word::fold(b"BF.ADD"));
        assert_ne!(Word::fold("é".as_bytes()), Word::fold("É".as_bytes()));
        assert_ne!(Word::fold(b"GET"), Word::fold(b"GET\0"));
        assert_ne!(Word::fold(b""), Word::fold(b"\0"));
    }

    #[test]
    fn every_byte_at_every_place_is_folded_as_the_standard_library_does() {
        for length in 0..=LONGEST {
            for place in 0..length {
                for byte in 0..=u8::MAX {
                    let mut bytes = vec![b'x'; length];
                    bytes[place] = byte;
                    let upper = bytes.to_ascii_uppercase();
                    assert_eq!(Word::fold(&bytes), Word::fold(&upper), "{bytes:?}");
                    let Some(Word(parts)) = Word::fold(&bytes) else { panic!("{length} bytes are too long") };
                    let folded: Vec<u8> = parts.iter().flat_map(|part| part.to_le_bytes()).collect();
                    assert_eq!(folded[..length], upper, "{bytes:?}");
                    assert_eq!(usize::from(folded[LONGEST]), length);
                }
            }
        }
    }

    #[test]
    fn a_word_longer_than_any_name_is_none() {
        assert!(Word::fold(&[b'a'; LONGEST]).is_some());
        assert!(Word::fold(&[b'a'; LONGEST + 1]).is_none());
    }
}
