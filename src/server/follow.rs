//! Follows a job until it has ended, and shows how far it is.

use std::time::{Duration, Instant};

use plimsoll_executor::control::JobState;
use plimsoll_executor::performance::Progress;
use reqwest::Method;
use tokio::sync::watch;

use super::job::{Job, Task};
use super::{CallError, Server};
use crate::failure::Failure;
use crate::terminal::Console;
use crate::terminal::painter::Painter;

const LOOK_EVERY: Duration = Duration::from_millis(300);
/// The server may be started anew meanwhile: the job outlives that.
const SERVER_MAY_BE_AWAY: Duration = Duration::from_secs(300);

/// Waits for a job's end.
///
/// # Errors
/// The server is away for long, or does not know the job any more.
pub(crate) async fn follow(server: &Server, job: &str, console: &Console) -> Result<Job, Failure> {
    let mut screen = Screen::default();
    let mut away_since: Option<Instant> = None;
    loop {
        match server
            .ask::<Job>(server.call(Method::GET, &["jobs", job]))
            .await
        {
            Ok(job) => {
                away_since = None;
                screen.show(&job, console);
                if job.state == JobState::Done {
                    return Ok(job);
                }
            }
            Err(CallError::Unreachable(failure)) => {
                let since = *away_since.get_or_insert_with(|| {
                    console.note(
                        "note: the server is away; the job is not lost, and it is waited for",
                    );
                    Instant::now()
                });
                if since.elapsed() > SERVER_MAY_BE_AWAY {
                    return Err(failure);
                }
            }
            Err(CallError::Refused(failure)) => return Err(failure),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What was shown of a job.
#[derive(Default)]
struct Screen {
    lines: Vec<String>,
    live: Option<Live>,
}

/// The task that runs, as it is painted.
struct Live {
    task: usize,
    progress: watch::Sender<Progress>,
    painter: Painter,
}

impl Screen {
    fn show(&mut self, job: &Job, console: &Console) {
        let running = job.tasks.iter().position(|task| task.progress.is_some());
        if self
            .live
            .as_ref()
            .is_some_and(|live| Some(live.task) != running)
        {
            self.live = None;
        }
        let lines: Vec<String> = job.tasks.iter().map(Task::line).collect();
        for (number, line) in lines.iter().enumerate() {
            if self.lines.get(number) != Some(line) {
                self.say(line, console);
            }
        }
        self.lines = lines;
        let Some((number, progress)) =
            running.zip(running.and_then(|n| job.tasks[n].progress.clone()))
        else {
            return;
        };
        let progress = Progress::from(progress);
        match &self.live {
            Some(live) => {
                live.progress.send_replace(progress);
            }
            None => {
                let sender = watch::Sender::new(progress);
                let subject = format!("{}  {}", job.subject(), job.tasks[number].suite);
                let painter = Painter::start(console, subject, sender.subscribe());
                self.live = Some(Live {
                    task: number,
                    progress: sender,
                    painter,
                });
            }
        }
    }

    fn say(&self, line: &str, console: &Console) {
        match &self.live {
            Some(live) => live.painter.line(format!("  {line}")),
            None => console.note(&format!("  {line}")),
        }
    }
}
