//! Reads server-sent events out of a body that comes in pieces.
//!
//! The pieces may be cut anywhere: inside a UTF-8 character, inside a line, between CR and LF.
//! The events are the same for every cut. An event that lies whole in one piece is handed on
//! without a copy.
//!
//! The format is the one of the HTML standard, "Server-sent events", section "Parsing an event
//! stream". This module knows nothing of JSON, of models or of time.

use memchr::{memchr, memchr2};

#[cfg(test)]
mod cuts;

/// What a stream of server-sent events says next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SseEvent<'a> {
    /// The data of one event. Several `data` lines of it are joined by a line feed.
    Data(&'a [u8]),
    /// The data of an event that the server itself calls an error: it came with `event: error`,
    /// or in a field named `error`, as llama.cpp's server wrote it for long.
    ServerError(&'a [u8]),
    /// `[DONE]`, which ends an OpenAI stream. Events may follow nevertheless.
    Done,
    /// An event that was thrown away. Reading goes on with the next one.
    Malformed(SseFault),
}

/// Why an event was thrown away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SseFault {
    /// A line is longer than the reader keeps.
    #[error("a line of the event stream is longer than {limit} bytes")]
    LineTooLong {
        /// The most bytes that a line may have.
        limit: usize,
    },
    /// The data lines of one event are longer than the reader keeps.
    #[error("an event of the stream has more than {limit} bytes of data")]
    EventTooLong {
        /// The most bytes that the data of an event may have.
        limit: usize,
    },
}

/// An incremental reader of server-sent events.
#[derive(Debug)]
pub struct SseReader {
    limit: usize,
    /// The start of a line whose end has not come yet.
    line: Vec<u8>,
    /// The data of the event in hand, as far as it came with earlier pieces.
    data: Vec<u8>,
    /// Whether `data` counts; an event may have data that are empty.
    has_data: bool,
    /// The event in hand calls itself an error.
    is_error: bool,
    /// The event in hand was reported as malformed: skip to its end.
    skip_event: bool,
    /// The line in hand was reported as too long: skip to its end.
    skip_line: bool,
    /// The last piece ended in CR: a line feed that comes next belongs to it.
    after_carriage_return: bool,
    /// No line was read yet: a byte order mark may come.
    at_start: bool,
}

impl Default for SseReader {
    fn default() -> Self {
        Self::with_limit(Self::DEFAULT_LIMIT)
    }
}

impl SseReader {
    /// The most bytes of a line, and of an event's data, unless told otherwise: 4 MiB.
    pub const DEFAULT_LIMIT: usize = 4 << 20;

    /// A reader that keeps no line, and no event's data, longer than `limit` bytes.
    pub fn with_limit(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            data: Vec::new(),
            has_data: false,
            is_error: false,
            skip_event: false,
            skip_line: false,
            after_carriage_return: false,
            at_start: true,
        }
    }

    /// Takes the next piece of the body and hands on each event that it completes, in order.
    pub fn feed(&mut self, bytes: &[u8], mut on_event: impl FnMut(SseEvent<'_>)) {
        let Some(&first) = bytes.first() else {
            return;
        };
        let mut rest = bytes;
        if std::mem::take(&mut self.after_carriage_return) && first == b'\n' {
            rest = &rest[1..];
        }
        if self.skip_line || !self.line.is_empty() {
            let Some((tail, after)) = self.split_line(rest) else {
                self.carry(rest, &mut on_event);
                return;
            };
            rest = after;
            self.carry(tail, &mut on_event);
            self.end_carried_line(&mut on_event);
        }
        let mut held = None;
        while let Some((line, after)) = self.split_line(rest) {
            rest = after;
            if line.len() > self.limit {
                held = None;
                let fault = SseFault::LineTooLong { limit: self.limit };
                self.reject(fault, &mut on_event);
            } else {
                self.on_line(line, &mut held, &mut on_event);
            }
        }
        self.keep(held);
        self.carry(rest, &mut on_event);
    }

    /// Takes the end of the body, which ends the line and the event in hand.
    ///
    /// The standard throws such an event away. Servers exist that leave out the last empty line,
    /// so it is handed on; whoever reads it must bear that it may be cut off.
    pub fn end(&mut self, mut on_event: impl FnMut(SseEvent<'_>)) {
        self.end_carried_line(&mut on_event);
        self.dispatch(None, &mut on_event);
    }

    /// The first line of `bytes` without its end, and what follows it; `None` if it does not end.
    fn split_line<'b>(&mut self, bytes: &'b [u8]) -> Option<(&'b [u8], &'b [u8])> {
        let end = memchr2(b'\n', b'\r', bytes)?;
        let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
        if bytes[end] == b'\n' {
            return Some((line, rest));
        }
        self.after_carriage_return = rest.is_empty();
        Some((line, rest.strip_prefix(b"\n").unwrap_or(rest)))
    }

    /// Keeps a part of a line for later.
    fn carry(&mut self, part: &[u8], on_event: &mut impl FnMut(SseEvent<'_>)) {
        if self.skip_line {
            return;
        }
        if self.line.len() + part.len() > self.limit {
            self.line.clear();
            self.skip_line = true;
            let fault = SseFault::LineTooLong { limit: self.limit };
            self.reject(fault, on_event);
        } else {
            self.line.extend_from_slice(part);
        }
    }

    /// Reads the line that was carried, now that its end has come.
    fn end_carried_line(&mut self, on_event: &mut impl FnMut(SseEvent<'_>)) {
        if std::mem::take(&mut self.skip_line) || self.line.is_empty() {
            return;
        }
        let mut line = std::mem::take(&mut self.line);
        let mut held = None;
        self.on_line(&line, &mut held, on_event);
        self.keep(held);
        line.clear();
        self.line = line;
    }

    fn on_line<'b>(
        &mut self,
        line: &'b [u8],
        held: &mut Option<&'b [u8]>,
        on_event: &mut impl FnMut(SseEvent<'_>),
    ) {
        let line = if std::mem::take(&mut self.at_start) {
            line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line)
        } else {
            line
        };
        if line.is_empty() {
            self.dispatch(held.take(), on_event);
            return;
        }
        let (name, value) = match memchr(b':', line) {
            Some(colon) => {
                let value = &line[colon + 1..];
                (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &line[line.len()..]),
        };
        match name {
            b"data" => self.append(value, held, on_event),
            b"error" => {
                self.is_error = true;
                self.append(value, held, on_event);
            }
            b"event" => self.is_error = value == b"error",
            // A comment has an empty name; `id`, `retry` and unknown names say nothing to us.
            _ => {}
        }
    }

    /// Adds a data line to the event in hand. `held` borrows the only line so far.
    fn append<'b>(
        &mut self,
        value: &'b [u8],
        held: &mut Option<&'b [u8]>,
        on_event: &mut impl FnMut(SseEvent<'_>),
    ) {
        if self.skip_event {
            return;
        }
        if held.is_none() && !self.has_data {
            *held = Some(value);
            return;
        }
        self.keep(held.take());
        if self.data.len() + 1 + value.len() > self.limit {
            let fault = SseFault::EventTooLong { limit: self.limit };
            self.reject(fault, on_event);
            return;
        }
        self.data.push(b'\n');
        self.data.extend_from_slice(value);
    }

    /// Copies a borrowed data line, since what it borrows is about to go.
    fn keep(&mut self, held: Option<&[u8]>) {
        if let Some(line) = held {
            self.data.extend_from_slice(line);
            self.has_data = true;
        }
    }

    /// Reports the event in hand as malformed and skips what is left of it.
    fn reject(&mut self, fault: SseFault, on_event: &mut impl FnMut(SseEvent<'_>)) {
        self.at_start = false;
        self.data.clear();
        self.has_data = false;
        self.skip_event = true;
        on_event(SseEvent::Malformed(fault));
    }

    /// Hands the event in hand on, if it has data, and begins the next.
    fn dispatch(&mut self, held: Option<&[u8]>, on_event: &mut impl FnMut(SseEvent<'_>)) {
        let is_error = std::mem::take(&mut self.is_error);
        self.skip_event = false;
        let has_data = std::mem::take(&mut self.has_data);
        let data = match held {
            Some(line) => line,
            None if has_data => &self.data,
            None => return,
        };
        on_event(if is_error {
            SseEvent::ServerError(data)
        } else if data.trim_ascii() == b"[DONE]" {
            SseEvent::Done
        } else {
            SseEvent::Data(data)
        });
        self.data.clear();
    }
}
