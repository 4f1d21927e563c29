//! One reply: from the bytes of a body, each with its receive time, to what became of the request.
//!
//! Start at [`Reply`]. The reply may come as an event stream or as one JSON document, whatever
//! was asked for and whatever the content type says: its first byte tells. Statuses are those of
//! [`RequestStatus`](plimsoll_ingest::RequestStatus); [`ReplyOutcome`] has the rules.
//!
//! This module knows no socket, no clock and no schedule: times are numbers that it is given.

mod error_text;
mod outcome;
mod transcript;

#[cfg(test)]
mod documents;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod known_streams;

pub use error_text::Redaction;
pub use outcome::{BodyEnd, ReplyOutcome, TlsFault};
pub use transcript::ChunkMark;

use super::chat::Transfer;
use super::sse::SseReader;
use outcome::Head;
use transcript::Transcript;

/// A reply that is coming in.
///
/// Call [`on_head`](Self::on_head) once, [`on_chunk`](Self::on_chunk) for each piece of the body,
/// and [`finish`](Self::finish) when nothing more comes, also where nothing ever came.
#[derive(Debug)]
pub struct Reply {
    asked: Transfer,
    head: Option<Head>,
    body: Body,
    transcript: Transcript,
    last_read_ns: i64,
}

/// What the body is, and as much of it as has to be kept.
#[derive(Debug)]
enum Body {
    /// Only white space came yet.
    Blank,
    /// An event stream.
    Events(SseReader),
    /// One JSON document.
    Whole(Vec<u8>),
    /// Something that is only good for an error text: the start of it.
    Text(Vec<u8>),
}

impl Reply {
    /// The most bytes of a reply that comes as one JSON document: 16 MiB.
    pub const WHOLE_LIMIT: usize = 16 << 20;

    /// As much of a failed answer's body as is kept to find its error text: 8 KiB.
    const TEXT_LIMIT: usize = 8 << 10;

    /// A reply that was asked for as a stream.
    pub fn streaming() -> Self {
        Self::asked_as(Transfer::Streaming)
    }

    /// A reply that was asked for as one document.
    pub fn whole() -> Self {
        Self::asked_as(Transfer::Whole)
    }

    /// A reply that was asked for in the given way.
    pub fn asked_as(asked: Transfer) -> Self {
        Self {
            asked,
            head: None,
            body: Body::Blank,
            transcript: Transcript::default(),
            last_read_ns: 0,
        }
    }

    /// Takes the status line and the `content-type`, with the receive time of the first byte.
    pub fn on_head(&mut self, at_ns: i64, http_status: u16, content_type: Option<&str>) {
        let is_page = content_type.is_some_and(|kind| {
            let kind = kind.trim_start().as_bytes();
            kind.get(..9)
                .is_some_and(|start| start.eq_ignore_ascii_case(b"text/html"))
        });
        let head = Head {
            first_byte_ns: at_ns,
            http_status,
            is_page,
            location: None,
        };
        if is_page || !head.is_success() {
            self.body = Body::Text(Vec::new());
        }
        self.head = Some(head);
        self.last_read_ns = at_ns;
    }

    /// Takes the address that the head names instead.
    pub fn on_location(&mut self, location: &str) {
        if let Some(head) = &mut self.head {
            head.location = Some(location.to_string());
        }
    }

    /// Takes the next piece of the body, with the receive time of the read that brought it.
    ///
    /// All events in it share that time. Pieces of one read may come one by one, all with its
    /// time, as an HTTP client hands on the frames of a chunked body.
    pub fn on_chunk(&mut self, at_ns: i64, bytes: &[u8]) {
        self.last_read_ns = at_ns;
        let bytes = match self.body {
            Body::Blank => self.begin_body(bytes),
            _ => bytes,
        };
        match &mut self.body {
            Body::Blank => {}
            Body::Events(reader) => {
                reader.feed(bytes, |event| self.transcript.on_event(at_ns, event));
            }
            Body::Whole(document) => {
                if document.len() + bytes.len() > Self::WHOLE_LIMIT {
                    self.transcript.on_fault(format!(
                        "the reply is a document of more than {} bytes",
                        Self::WHOLE_LIMIT
                    ));
                    self.body = Body::Text(Vec::new());
                } else {
                    document.extend_from_slice(bytes);
                }
            }
            Body::Text(text) => {
                let room = Self::TEXT_LIMIT.saturating_sub(text.len());
                text.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
        }
    }

    /// Whether the reply said all that it has to say: `[DONE]` came. The body may go on.
    pub fn is_done(&self) -> bool {
        self.transcript.is_done()
    }

    /// Takes the end of the body and says what became of the request. `redaction` knows what the
    /// error text must not show.
    pub fn finish(mut self, end: BodyEnd, redaction: &Redaction) -> ReplyOutcome {
        let at_ns = self.last_read_ns;
        let text = match self.body {
            Body::Blank => Vec::new(),
            Body::Events(mut reader) => {
                reader.end(|event| self.transcript.on_last_event(at_ns, event));
                Vec::new()
            }
            Body::Whole(document) => {
                let is_cut = end != BodyEnd::Complete;
                self.transcript
                    .on_document(at_ns, &document, self.asked, is_cut);
                Vec::new()
            }
            Body::Text(text) => {
                // Half a word at the cut could be half a key, which nothing would recognise.
                let cut = text.len() == Self::TEXT_LIMIT;
                let last_space = text.iter().rposition(u8::is_ascii_whitespace);
                match last_space {
                    Some(end) if cut => text[..end].to_vec(),
                    _ => text,
                }
            }
        };
        outcome::judge(self.head, self.transcript, &text, end, redaction)
    }

    /// Decides by the body's first byte that is no white space and no byte order mark what the
    /// body is. Gives back what is to be read as such.
    fn begin_body<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let is_blank = |byte: &u8| byte.is_ascii_whitespace() || b"\xEF\xBB\xBF".contains(byte);
        let Some(start) = bytes.iter().position(|byte| !is_blank(byte)) else {
            return &[];
        };
        self.body = match bytes[start] {
            b'{' => Body::Whole(Vec::new()),
            b'<' => {
                if let Some(head) = &mut self.head {
                    head.is_page = true;
                }
                Body::Text(Vec::new())
            }
            _ => Body::Events(SseReader::default()),
        };
        &bytes[start..]
    }
}
