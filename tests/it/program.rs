//! The built program, in a place of its own: arguments in, exit code and text out.

use std::fmt;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// A folder that the program works in: its warehouse and spool are the default ones below it.
pub(crate) struct Place {
    folder: TempDir,
}

/// What one command came to.
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        Self { folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The program with arguments, not yet started, and with no settings but those given here.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PLIMSOLL_")) {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn answer(&self, arguments: &[&str]) -> Answer {
        Answer::of(
            self.command(arguments)
                .output()
                .expect("the program starts"),
        )
    }

    /// Runs the program, which has to succeed.
    pub(crate) fn done(&self, arguments: &[&str]) -> Answer {
        let answer = self.answer(arguments);
        assert_eq!(answer.code, Some(0), "plimsoll {arguments:?}: {answer:?}");
        answer
    }

    /// The rows of a query.
    pub(crate) fn rows(&self, query: &str) -> Vec<Value> {
        self.done(&["sql", query, "--format", "ndjson"])
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).expect("each line is a row"))
            .collect()
    }

    /// The only column of the only row of a query.
    pub(crate) fn value(&self, query: &str) -> Value {
        let rows = self.rows(query);
        let [Value::Object(row)] = &rows[..] else {
            panic!("{query}: {rows:?} is not one row");
        };
        assert_eq!(row.len(), 1, "{query}: {row:?} is not one column");
        row.values().next().expect("there is one").clone()
    }

    /// Names of what lies in the spool.
    pub(crate) fn spooled(&self) -> Vec<String> {
        match self.path().join("plimsoll-data/spool").read_dir() {
            Ok(entries) => entries
                .map(|entry| entry.expect("it can be read").file_name())
                .map(|name| name.to_string_lossy().into_owned())
                .collect(),
            Err(_) => Vec::new(),
        }
    }
}

impl fmt::Debug for Answer {
    /// Enough to see what went wrong, and never a whole table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = |text: &str| text.chars().take(2000).collect::<String>();
        let (stdout, stderr) = (start(&self.stdout), start(&self.stderr));
        write!(
            f,
            "exit code {:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}",
            self.code
        )
    }
}

impl Answer {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the program writes UTF-8");
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// The last line of standard output, which `--json` makes an object.
    pub(crate) fn json(&self) -> Value {
        let line = self.stdout.lines().last().unwrap_or("");
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks exit code and the two lines of an error: what happened, and what to do.
    pub(crate) fn refuses(&self, code: i32, error: &str, help: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        let lines: Vec<&str> = self.stderr.lines().collect();
        let says = |start: &str, words: &str| {
            lines
                .iter()
                .any(|line| line.starts_with(start) && line.contains(words))
        };
        assert!(says("error: ", error), "no error with `{error}`: {self:?}");
        assert!(says("help: ", help), "no help with `{help}`: {self:?}");
        let alone = self.stdout.is_empty() || self.json()["error"].is_string();
        assert!(
            alone,
            "an error leaves standard output to `--json`: {self:?}"
        );
    }
}

/// A command that is under way; killed when dropped.
pub(crate) struct Running {
    child: Option<Child>,
    says: BufReader<Box<dyn Read + Send>>,
    said: String,
}

/// Where a command says what the test waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listen {
    ToResults,
    ToProgress,
}

impl Running {
    /// Starts a command and listens to one of its outputs.
    pub(crate) fn start(command: &mut Command, listen: Listen) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let says: Box<dyn Read + Send> = match listen {
            Listen::ToResults => Box::new(child.stdout.take().expect("it is piped")),
            Listen::ToProgress => Box::new(child.stderr.take().expect("it is piped")),
        };
        Self {
            child: Some(child),
            says: BufReader::new(says),
            said: String::new(),
        }
    }

    /// Reads until a line contains the words.
    pub(crate) fn wait_for(&mut self, words: &str) {
        loop {
            let from = self.said.len();
            let read = self
                .says
                .read_line(&mut self.said)
                .expect("it writes UTF-8");
            assert!(read > 0, "it ended and never said `{words}`: {}", self.said);
            if self.said[from..].contains(words) {
                return;
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it is under way");
        let id = i32::try_from(child.id()).expect("a process id is small");
        kill(Pid::from_raw(id), signal).expect("it is under way");
    }

    /// Reads on for as long as it runs, so that it never waits for a reader.
    pub(crate) fn drain(mut self) -> Drained {
        let nothing = BufReader::new(Box::new(std::io::empty()) as Box<dyn Read + Send>);
        let mut says = std::mem::replace(&mut self.says, nothing);
        std::thread::spawn(move || std::io::copy(&mut says, &mut std::io::sink()));
        Drained { _running: self }
    }

    /// What it said so far.
    pub(crate) fn said(&self) -> &str {
        &self.said
    }

    /// Waits for its end. The output that was listened to is not in the answer.
    pub(crate) fn end(mut self) -> Answer {
        let child = self.child.take().expect("it ends once");
        self.says
            .read_to_string(&mut self.said)
            .expect("it writes UTF-8");
        Answer::of(child.wait_with_output().expect("it can be waited for"))
    }
}

/// A command that is under way and whose output nobody wants; killed when dropped.
pub(crate) struct Drained {
    _running: Running,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Only on the way out of a failed test, which is what gets shown.
            child.kill().ok();
            child.wait().ok();
        }
    }
}
