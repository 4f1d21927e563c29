//! Files of frames: appending, syncing, and finding what is whole.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::frame::{HEADER_LEN, Header, Tag};

/// Bytes of a segment, but for one that a single frame is longer than.
const SEGMENT_LIMIT: u64 = 64 << 20;

fn segment_path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("segment-{number:06}.plsf"))
}

fn segment_number(name: &str) -> Option<u32> {
    name.strip_prefix("segment-")?
        .strip_suffix(".plsf")?
        .parse()
        .ok()
}

/// The numbers of a folder's segments, in order.
fn numbers(folder: &Path) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in folder.read_dir()? {
        if let Some(number) = entry?.file_name().to_str().and_then(segment_number) {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The number that a folder's next segment gets.
pub(crate) fn next_number(folder: &Path) -> io::Result<u32> {
    Ok(numbers(folder)?.last().map_or(0, |last| last + 1))
}

/// Makes every segment outlive a power cut, whichever process wrote it.
pub(crate) fn sync_all(folder: &Path) -> io::Result<()> {
    for number in numbers(folder)? {
        File::open(segment_path(folder, number))?.sync_data()?;
    }
    Ok(())
}

/// Appends frames to the newest segment of a folder.
#[derive(Debug)]
pub(crate) struct SegmentWriter {
    folder: PathBuf,
    number: u32,
    file: File,
    len: u64,
    /// The segment is closed, and the next begun, past this many bytes.
    pub(super) limit: u64,
    /// Whether bytes were written since the last sync.
    dirty: bool,
}

impl SegmentWriter {
    /// Continues after segment `number - 1` with a new, empty file.
    pub(crate) fn begin(folder: &Path, number: u32) -> io::Result<Self> {
        let path = segment_path(folder, number);
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        File::open(folder)?.sync_all()?;
        Ok(Self {
            folder: folder.to_path_buf(),
            number,
            file,
            len: 0,
            limit: SEGMENT_LIMIT,
            dirty: false,
        })
    }

    /// Appends a whole frame; where that fails, nothing of it stays.
    pub(crate) fn append(&mut self, frame: &[u8]) -> io::Result<()> {
        if self.len > 0 && self.len + frame.len() as u64 > self.limit {
            self.sync()?;
            *self = Self {
                limit: self.limit,
                ..Self::begin(&self.folder, self.number + 1)?
            };
        }
        if let Err(error) = self.file.write_all(frame) {
            self.file.set_len(self.len)?;
            self.file.seek(SeekFrom::Start(self.len))?;
            return Err(error);
        }
        self.len += frame.len() as u64;
        self.dirty = true;
        Ok(())
    }

    /// Makes everything appended outlive a power cut.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if self.dirty {
            self.file.sync_data()?;
            self.dirty = false;
        }
        Ok(())
    }
}

/// Where a whole frame lies.
#[derive(Debug, Clone, Copy)]
pub struct FrameRef {
    /// What it holds.
    pub tag: Tag,
    pub(crate) segment: u32,
    pub(crate) offset: u64,
    pub(crate) tag_len: usize,
    pub(crate) payload_len: usize,
}

/// How far a segment could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) segment: u32,
    /// Bytes of its whole frames.
    pub(crate) whole: u64,
    /// Bytes behind them.
    pub(crate) torn: u64,
    /// Whether those are more than the beginning of a frame, which is all that a killed process
    /// leaves.
    pub(crate) spoiled: bool,
}

/// What a folder's segments hold.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// The whole frames, in the order in which they were written.
    pub(crate) frames: Vec<FrameRef>,
    /// How far each segment could be read, in order.
    pub(crate) extents: Vec<Extent>,
    /// How many whole frames have a tag that this release does not know.
    pub(crate) unknown_frames: u64,
    /// The tag of the first of them.
    pub(crate) unknown_tag: Option<String>,
}

/// Reads every segment and checks every frame.
///
/// A frame that is not whole ends its segment: a crash tears the last one.
pub(crate) fn scan(folder: &Path) -> io::Result<Scan> {
    let mut scan = Scan::default();
    for number in numbers(folder)? {
        scan_segment(folder, number, &mut scan)?;
    }
    Ok(scan)
}

fn scan_segment(folder: &Path, segment: u32, scan: &mut Scan) -> io::Result<()> {
    let file = File::open(segment_path(folder, segment))?;
    let len = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut offset = 0u64;
    let mut body = Vec::new();
    let spoiled = loop {
        let mut header = [0u8; HEADER_LEN];
        if len - offset < HEADER_LEN as u64 {
            break false;
        }
        reader.read_exact(&mut header)?;
        let Some(parsed) = Header::parse(&header) else {
            break true;
        };
        let next = offset + (HEADER_LEN + parsed.body_len()) as u64;
        if next > len {
            break false;
        }
        body.resize(parsed.body_len(), 0);
        reader.read_exact(&mut body)?;
        if !parsed.fits(&header, &body) {
            break true;
        }
        let text = String::from_utf8_lossy(&body[..parsed.tag_len]);
        if let Some(tag) = Tag::parse(&text) {
            scan.frames.push(FrameRef {
                tag,
                segment,
                offset,
                tag_len: parsed.tag_len,
                payload_len: parsed.payload_len,
            });
        } else {
            scan.unknown_frames += 1;
            scan.unknown_tag.get_or_insert_with(|| text.into_owned());
        }
        offset = next;
    };
    scan.extents.push(Extent {
        segment,
        whole: offset,
        torn: len - offset,
        spoiled,
    });
    Ok(())
}

/// Reads a frame's payload.
///
/// # Errors
/// The disk failed, or gives other bytes than when the frame was found.
pub(crate) fn read_payload(folder: &Path, frame: &FrameRef) -> io::Result<Vec<u8>> {
    let mut file = File::open(segment_path(folder, frame.segment))?;
    file.seek(SeekFrom::Start(frame.offset))?;
    let mut header = [0u8; HEADER_LEN];
    file.read_exact(&mut header)?;
    let mut body = vec![0u8; frame.tag_len + frame.payload_len];
    file.read_exact(&mut body)?;
    match Header::parse(&header) {
        Some(parsed) if parsed.fits(&header, &body) => {
            body.drain(..frame.tag_len);
            Ok(body)
        }
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a frame changed since it was found",
        )),
    }
}

/// Cuts the segments so that `frame` and all after it are gone.
pub(crate) fn truncate_from(folder: &Path, frame: &FrameRef) -> io::Result<()> {
    // The last first: a crash in between must leave a prefix.
    for number in numbers(folder)?.into_iter().rev() {
        if number > frame.segment {
            std::fs::remove_file(segment_path(folder, number))?;
        }
    }
    let file = OpenOptions::new()
        .write(true)
        .open(segment_path(folder, frame.segment))?;
    file.set_len(frame.offset)?;
    file.sync_all()?;
    File::open(folder)?.sync_all()
}
