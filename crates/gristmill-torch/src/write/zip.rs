//! Where the members of a new zip archive lie, and the records around them.
//!
//! ```text
//! ┌──────────────┬───────────┬────────┬──────────────┬─────┬───────────┬───────────────────────┐
//! │ local header │ extra: FB │ data   │ local header │  …  │ directory │ zip64 end, locator,   │
//! │ name, size   │ padding   │ at 64n │              │     │           │ end                   │
//! └──────────────┴───────────┴────────┴──────────────┴─────┴───────────┴───────────────────────┘
//! ```
//!
//! Members are stored, not compressed, and their data begins at multiples of 64, so that they can be mapped; the
//! padding is an extra field `FB` of the local header, as torch has it. Only the checksums are not known beforehand;
//! no length depends on them. Numbers that do not fit into 32 bits go to zip64 extra fields, and the zip64 end record
//! is always there, as in torch's files. Source: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3 and 4.5.3;
//! `caffe2/serialize/inline_container.cc`.

/// The data of every member begins at a multiple of this.
pub(crate) const ALIGNMENT: u64 = 64;

/// A local header without name and extra fields, and an extra field without its content.
const LOCAL_LEN: u64 = 30;
const EXTRA_LEN: u64 = 4;

/// Two sizes of eight bytes in a zip64 extra field.
const SIZES_LEN: u64 = EXTRA_LEN + 16;

/// The extra field with sizes or places that need 64 bits, and torch's for padding.
const ZIP64: u16 = 1;
const PADDING: u16 = u16::from_le_bytes(*b"FB");

/// The versions of the specification that readers must know: plain, and with zip64 fields.
const PLAIN_VERSION: u16 = 20;
const ZIP64_VERSION: u16 = 45;

/// Names are UTF-8.
const FLAGS: u16 = 1 << 11;

/// Midnight of 1 January 1980, the first day there is: the same model is always the same file.
const TIME: u16 = 0;
const DATE: u16 = 0x21;

/// One member.
pub(crate) struct Member {
    name: String,
    /// Where its local header begins, in bytes from the start of the file.
    pub(crate) header: u64,
    /// Where its data begins.
    pub(crate) start: u64,
    /// Bytes of data.
    len: u64,
}

/// The members of an archive, in the order of the file.
#[derive(Default)]
pub(crate) struct Layout {
    pub(crate) members: Vec<Member>,
    /// The end of the last member.
    pub(crate) end: u64,
}

impl Layout {
    /// Adds a member of `len` bytes; `None` when it would end past any file.
    pub(crate) fn add(&mut self, name: String, len: u64) -> Option<()> {
        let sizes = if is_large(len) { SIZES_LEN } else { 0 };
        let records = LOCAL_LEN + name.len() as u64 + sizes + EXTRA_LEN;
        let start = self.end.checked_add(records)?.checked_next_multiple_of(ALIGNMENT)?;
        let end = start.checked_add(len)?;
        self.members.push(Member { name, header: self.end, start, len });
        self.end = end;
        Some(())
    }

    /// The directory and the end of the archive, which stand behind the last member. There is one checksum for each.
    pub(crate) fn directory(&self, checksums: &[u32]) -> Vec<u8> {
        let mut out = Vec::new();
        for (member, &checksum) in self.members.iter().zip(checksums) {
            member.write_record(checksum, &mut out);
        }
        let n = self.members.len() as u64;
        let len = out.len() as u64;

        out.extend(b"PK\x06\x06");
        put64(&mut out, &[44]); // the length of what follows
        put16(&mut out, &[ZIP64_VERSION, ZIP64_VERSION]);
        put32(&mut out, &[0, 0]); // the number of this disk and of the directory's
        put64(&mut out, &[n, n, len, self.end]);

        out.extend(b"PK\x06\x07");
        put32(&mut out, &[0]);
        put64(&mut out, &[self.end + len]);
        put32(&mut out, &[1]);

        out.extend(b"PK\x05\x06");
        let n = u16::try_from(n).unwrap_or(u16::MAX);
        put16(&mut out, &[0, 0, n, n]);
        put32(&mut out, &[saturated(len), saturated(self.end)]);
        put16(&mut out, &[0]); // no comment
        out
    }
}

impl Member {
    /// The local header, with all that stands between the end of the member before and the data.
    pub(crate) fn local_header(&self, checksum: u32) -> Vec<u8> {
        let mut extra = Vec::new();
        if is_large(self.len) {
            put16(&mut extra, &[ZIP64, 16]);
            put64(&mut extra, &[self.len, self.len]);
        }
        let taken = LOCAL_LEN + self.name.len() as u64 + extra.len() as u64 + EXTRA_LEN;
        let padding = (self.start - self.header - taken) as u16; // less than the alignment
        put16(&mut extra, &[PADDING, padding]);
        extra.resize(extra.len() + usize::from(padding), b'Z');

        let mut out = b"PK\x03\x04".to_vec();
        self.write_description(checksum, &extra, &mut out);
        out.extend(self.name.as_bytes());
        out.extend(extra);
        out
    }

    /// The record of the directory.
    fn write_record(&self, checksum: u32, out: &mut Vec<u8>) {
        let mut large = Vec::new();
        if is_large(self.len) {
            large.extend([self.len, self.len]);
        }
        if is_large(self.header) {
            large.push(self.header);
        }
        let mut extra = Vec::new();
        if !large.is_empty() {
            put16(&mut extra, &[ZIP64, large.len() as u16 * 8]);
            put64(&mut extra, &large);
        }

        out.extend(b"PK\x01\x02");
        put16(out, &[ZIP64_VERSION]); // the version of the writer
        self.write_description(checksum, &extra, out);
        put16(out, &[0, 0, 0]); // comment, disk, internal attributes
        put32(out, &[0, saturated(self.header)]); // external attributes, place
        out.extend(self.name.as_bytes());
        out.extend(extra);
    }

    /// The fields that local header and directory have in common.
    fn write_description(&self, checksum: u32, extra: &[u8], out: &mut Vec<u8>) {
        let large = is_large(self.len) || is_large(self.header);
        let version = if large { ZIP64_VERSION } else { PLAIN_VERSION };
        let stored = 0;
        put16(out, &[version, FLAGS, stored, TIME, DATE]);
        put32(out, &[checksum, saturated(self.len), saturated(self.len)]);
        put16(out, &[self.name.len() as u16, extra.len() as u16]);
    }
}

/// Whether a number needs a zip64 field; the largest of 32 bits means that there is one.
fn is_large(value: u64) -> bool {
    value >= u64::from(u32::MAX)
}

fn saturated(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn put16(out: &mut Vec<u8>, values: &[u16]) {
    values.iter().for_each(|value| out.extend(value.to_le_bytes()));
}

fn put32(out: &mut Vec<u8>, values: &[u32]) {
    values.iter().for_each(|value| out.extend(value.to_le_bytes()));
}

fn put64(out: &mut Vec<u8>, values: &[u64]) {
    values.iter().for_each(|value| out.extend(value.to_le_bytes()));
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Seek, SeekFrom, Write};

    use super::*;

    /// A file with all records and none of the data, which reads as zeros and takes no room.
    fn sparse(layout: &Layout) -> File {
        let mut file = tempfile::tempfile().unwrap();
        let checksums = vec![0; layout.members.len()];
        for member in &layout.members {
            file.seek(SeekFrom::Start(member.header)).unwrap();
            file.write_all(&member.local_header(0)).unwrap();
        }
        file.seek(SeekFrom::Start(layout.end)).unwrap();
        file.write_all(&layout.directory(&checksums)).unwrap();
        file
    }

    #[test]
    fn sizes_and_places_past_four_gigabytes_are_found_again() {
        let lens = [5, u32::MAX.into(), 0, (1 << 32) + 7, u64::from(u32::MAX) - 1, 1];
        let mut layout = Layout::default();
        for (number, &len) in lens.iter().enumerate() {
            layout.add(format!("model/data/{number}"), len).unwrap();
        }
        let mut zip = ::zip::ZipArchive::new(sparse(&layout)).unwrap();
        assert_eq!(zip.len(), lens.len());
        for (number, (member, &len)) in layout.members.iter().zip(&lens).enumerate() {
            let entry = zip.by_index_raw(number).unwrap();
            assert_eq!((entry.size(), entry.compressed_size()), (len, len));
            assert_eq!(entry.header_start(), member.header);
            assert_eq!(entry.data_start(), Some(member.start));
            assert_eq!(member.start % ALIGNMENT, 0);
        }
    }

    #[test]
    fn more_members_than_sixteen_bits_count_are_all_listed() {
        let mut layout = Layout::default();
        (0..70_000).for_each(|number| layout.add(format!("m/data/{number}"), 0).unwrap());
        assert_eq!(::zip::ZipArchive::new(sparse(&layout)).unwrap().len(), 70_000);
    }

    #[test]
    fn what_no_file_can_hold_is_noticed() {
        let mut layout = Layout::default();
        layout.add("a".into(), u64::MAX - 1024).unwrap();
        assert!(layout.add("b".into(), 1024).is_none());
        assert_eq!(layout.members.len(), 1);
    }
}
