//! The unit of a spool: one tagged, checksummed record batch.
//!
//! Layout, little endian: magic (4 bytes), CRC-32 of all that follows it (4),
//! length of the payload (4), length of the tag (2), two bytes of zero, the
//! tag, the payload. The payload is an Arrow IPC stream of one batch, so each
//! frame can be read by itself.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use crate::table::Table;

pub(crate) const MAGIC: [u8; 4] = *b"PLSF";
pub(crate) const HEADER_LEN: usize = 16;
/// Where the checksummed part begins.
const SUMMED_FROM: usize = 8;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tag {
    /// Rows as they were measured.
    Facts(Table),
    /// Rows as they were known at the run's start; what a crash leaves.
    Draft(Table),
    /// Rows made when the run ended; they count only before an end marker.
    Final(Table),
    /// Requests that were sent and may not have ended.
    Sends,
    /// The spool is complete.
    End,
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Facts(table) => write!(f, "facts/{}", table.name()),
            Self::Draft(table) => write!(f, "draft/{}", table.name()),
            Self::Final(table) => write!(f, "final/{}", table.name()),
            Self::Sends => f.write_str("sends"),
            Self::End => f.write_str("end"),
        }
    }
}

impl Tag {
    /// Reads a tag; `None` where a later release wrote one that is not known.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once('/') {
            Some(("facts", table)) => Table::by_name(table).map(Self::Facts),
            Some(("draft", table)) => Table::by_name(table).map(Self::Draft),
            Some(("final", table)) => Table::by_name(table).map(Self::Final),
            None if text == "sends" => Some(Self::Sends),
            None if text == "end" => Some(Self::End),
            _ => None,
        }
    }

    /// The table whose rows such a frame holds; `None` where it holds none.
    pub fn table(self) -> Option<Table> {
        match self {
            Self::Facts(table) | Self::Draft(table) | Self::Final(table) => Some(table),
            Self::Sends | Self::End => None,
        }
    }
}

/// A frame's header, as read from disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) crc: u32,
    pub(crate) payload_len: usize,
    pub(crate) tag_len: usize,
}

impl Header {
    /// `None` where the bytes do not begin a frame.
    pub(crate) fn parse(bytes: &[u8; HEADER_LEN]) -> Option<Self> {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        (bytes[..4] == MAGIC).then(|| Self {
            crc: word(4),
            payload_len: word(8) as usize,
            tag_len: usize::from(u16::from_le_bytes([bytes[12], bytes[13]])),
        })
    }

    /// Length of what follows the header.
    pub(crate) fn body_len(&self) -> usize {
        self.tag_len + self.payload_len
    }

    /// Whether the checksum fits the header and the bytes that follow it.
    pub(crate) fn fits(&self, header: &[u8; HEADER_LEN], body: &[u8]) -> bool {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&header[SUMMED_FROM..]);
        crc.update(body);
        crc.finalize() == self.crc
    }
}

/// A whole frame as bytes.
///
/// # Errors
/// The payload is past 4 GiB, or Arrow cannot write the batch.
pub(crate) fn encode(tag: Tag, batch: Option<&RecordBatch>) -> Result<Vec<u8>, ArrowError> {
    encode_tagged(&tag.to_string(), batch)
}

/// A whole frame whose tag may be one that this release does not know.
pub(super) fn encode_tagged(tag: &str, batch: Option<&RecordBatch>) -> Result<Vec<u8>, ArrowError> {
    let mut bytes = vec![0u8; HEADER_LEN];
    bytes.extend_from_slice(tag.as_bytes());
    if let Some(batch) = batch {
        let batch = without_metadata(batch)?;
        let mut writer = StreamWriter::try_new(&mut bytes, &batch.schema())?;
        writer.write(&batch)?;
        writer.finish()?;
    }
    let payload_len = u32::try_from(bytes.len() - HEADER_LEN - tag.len())
        .map_err(|_| ArrowError::InvalidArgumentError("a frame is past 4 GiB".to_string()))?;
    let tag_len = u16::try_from(tag.len()).expect("tags are short");
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&payload_len.to_le_bytes());
    bytes[12..14].copy_from_slice(&tag_len.to_le_bytes());
    let crc = crc32fast::hash(&bytes[SUMMED_FROM..]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    Ok(bytes)
}

/// The batch in a frame's payload; `None` where the payload is empty.
///
/// # Errors
/// The payload is no Arrow stream.
pub(crate) fn decode(payload: &[u8]) -> Result<Option<RecordBatch>, ArrowError> {
    if payload.is_empty() {
        return Ok(None);
    }
    StreamReader::try_new(payload, None)?.next().transpose()
}

/// Comments on columns are not repeated in each frame.
fn without_metadata(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| Field::new(field.name(), field.data_type().clone(), field.is_nullable()))
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), batch.columns().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array};

    fn batch() -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        RecordBatch::try_from_iter([("request_id", column)]).expect("batch")
    }

    #[test]
    fn a_frame_reads_back_and_any_changed_byte_is_noticed() {
        let bytes = encode(Tag::Facts(Table::Requests), Some(&batch())).expect("encode");
        let check = |bytes: &[u8]| -> Option<bool> {
            let header: [u8; HEADER_LEN] = bytes[..HEADER_LEN].try_into().expect("header");
            let parsed = Header::parse(&header)?;
            let body = bytes.get(HEADER_LEN..HEADER_LEN + parsed.body_len())?;
            Some(parsed.fits(&header, body))
        };
        assert_eq!(check(&bytes), Some(true));
        for at in 0..bytes.len() {
            let mut torn = bytes.clone();
            torn[at] ^= 0x20;
            assert_ne!(check(&torn), Some(true), "byte {at}");
        }
        let header: [u8; HEADER_LEN] = bytes[..HEADER_LEN].try_into().expect("header");
        let tag_len = Header::parse(&header).expect("header").tag_len;
        let payload = &bytes[HEADER_LEN + tag_len..];
        assert_eq!(decode(payload).expect("decode"), Some(batch()));
    }

    #[test]
    fn tags_read_back() {
        for tag in [
            Tag::Facts(Table::Chunks),
            Tag::Draft(Table::Runs),
            Tag::Sends,
            Tag::End,
        ] {
            assert_eq!(Tag::parse(&tag.to_string()), Some(tag));
        }
        assert_eq!(Tag::parse("facts/unheard_of"), None);
    }
}
