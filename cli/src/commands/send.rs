//! `hark send`: one message, or a message for each line of the standard input, in order.

use std::future::Future;
use std::io::Write;

use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, StreamExt};
use hark_sdk::{Draft, SendError, Sent};
use tokio::io::BufReader;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::commands::lines::{self, Line};
use crate::commands::pacer::Pacer;
use crate::commands::{LEAVE_WITHIN, SentJson, with_room};
use crate::connect::{PATIENCE_S, Purpose, with_patience};
use crate::context::Context;
use crate::exit::{Done, Failure, Outcome};
use crate::output::Output;

/// Sends one message and prints its seq.
pub(crate) async fn one(context: Context, room: &str, text: &str, output: &mut Output) -> Done {
    let sent = with_room(context, room, async |room| Ok(room.send(text).await?)).await?;
    output.result(&SentJson::new(room, &sent), sent.seq.to_string())
}

/// Messages on their way at once: enough to keep the server's batches full, and fewer than the client queues.
const IN_FLIGHT_MAX: usize = 512;

/// Sends each line of the standard input as a message and prints their seqs.
pub(crate) async fn lines(context: Context, room: &str, output: &mut Output) -> Done {
    let patience_s = context.patience_s.unwrap_or(PATIENCE_S);
    let client = context.connect(Purpose::Task).await?;
    let done = match client.room(room).await {
        Ok(room) => {
            let lines = lines::read(BufReader::with_capacity(64 * 1024, tokio::io::stdin()));
            let pacer = Pacer::of(&client.welcome(), Instant::now());
            // Handed over when it is made, not when it is first polled: the order of lines is the log's.
            let publish = |line: String| room.publish(Draft::text(line));
            let pump = Pump::new(room.name().as_str(), output);
            with_patience(&client, patience_s, pump.run(lines, pacer, publish)).await
        }
        Err(error) => Err(error.into()),
    };
    client.close_within(LEAVE_WITHIN).await;
    done
}

/// What became of the lines so far.
struct Pump<'a, W: Write> {
    room: &'a str,
    /// `None` once nobody reads the results: what is left of the input is sent all the same.
    output: Option<&'a mut Output<W>>,
    lines: u64,
    stored: u64,
    in_doubt: u64,
    /// The first line that failed, and how.
    failed: Option<(u64, Failure)>,
}

impl<'a, W: Write> Pump<'a, W> {
    fn new(room: &'a str, output: &'a mut Output<W>) -> Self {
        Pump { room, output: Some(output), lines: 0, stored: 0, in_doubt: 0, failed: None }
    }

    /// Sends line after line, many at once, until the input ends or a line fails; then waits for the answers that
    /// are still out.
    async fn run<P>(
        mut self,
        mut lines: mpsc::Receiver<Line>,
        mut pacer: Pacer,
        publish: impl Fn(String) -> P,
    ) -> Done
    where
        P: Future<Output = Result<Sent, SendError>>,
    {
        let mut answers = FuturesOrdered::new();
        let mut is_open = true;
        loop {
            let may_read = is_open && self.failed.is_none() && answers.len() < IN_FLIGHT_MAX;
            if !may_read && answers.is_empty() {
                return self.outcome();
            }
            tokio::select! {
                biased;
                Some((number, answer)) = answers.next() => {
                    self.note(number, answer)?;
                    // Everything that is there is written at once.
                    while let Some(Some((number, answer))) = answers.next().now_or_never() {
                        self.note(number, answer)?;
                    }
                    self.write(|output| output.flush())?;
                }
                line = next_line(&mut lines, &mut pacer), if may_read => match line {
                    Some(Ok(text)) => {
                        self.lines += 1;
                        let (number, answer) = (self.lines, publish(text));
                        answers.push_back(async move { (number, answer.await) });
                    }
                    Some(Err(words)) => self.fail(self.lines + 1, Failure::usage(words)),
                    None => is_open = false,
                },
            }
        }
    }

    fn note(&mut self, number: u64, answer: Result<Sent, SendError>) -> Done {
        match answer {
            Ok(sent) => {
                self.stored += 1;
                let room = self.room;
                self.write(|output| output.result(&SentJson::new(room, &sent), sent.seq.to_string()))
            }
            Err(error) => {
                self.in_doubt += u64::from(!error.kind().is_definite());
                self.fail(number, error.into());
                Ok(())
            }
        }
    }

    fn fail(&mut self, number: u64, failure: Failure) {
        if self.failed.as_ref().is_none_or(|(first, _)| number < *first) {
            self.failed = Some((number, failure));
        }
    }

    fn write(&mut self, write: impl FnOnce(&mut Output<W>) -> Done) -> Done {
        match self.output.as_mut().map_or(Ok(()), |output| write(output)) {
            Err(Failure::PipeClosed) => {
                self.output = None;
                Ok(())
            }
            done => done,
        }
    }

    /// Done, or which line failed, why, and what became of the others.
    fn outcome(self) -> Done {
        let Some((number, failure)) = self.failed else { return Ok(()) };
        let Failure::Said { outcome, sentence } = failure else { return Err(failure) };
        let outcome = match outcome {
            _ if self.in_doubt > 0 => Outcome::Unknown,
            // "Not reached" says that nothing was sent.
            Outcome::NotReached if self.stored > 0 => Outcome::Unknown,
            other => other,
        };
        let doubt = match self.in_doubt {
            0 => String::new(),
            count => format!(", {count} may or may not have been"),
        };
        let sentence = format!("line {number} failed: {sentence}; {} lines were stored{doubt}", self.stored);
        Err(Failure::new(outcome, sentence))
    }
}

/// The next line, when the rate allows it. Cancel-safe: nothing is waited for once a line was taken.
async fn next_line(lines: &mut mpsc::Receiver<Line>, pacer: &mut Pacer) -> Option<Line> {
    let delay = pacer.delay(Instant::now());
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let line = lines.recv().await;
    pacer.spend(Instant::now());
    line
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use hark_sdk::SendErrorKind;
    use jiff::tz::TimeZone;

    use super::*;
    use crate::output::Mode;

    fn input(lines: usize) -> mpsc::Receiver<Line> {
        let text: String = (1..=lines).map(|number| format!("{number}\n")).collect();
        lines::read(std::io::Cursor::new(text.into_bytes()))
    }

    fn unpaced() -> Pacer {
        Pacer::new(0, 0, Instant::now())
    }

    fn refused() -> Result<Sent, SendError> {
        Err(SendErrorKind::TooLarge { size: 2, max: 1 }.into())
    }

    /// Runs a pump each of whose answers is a failure of some kind.
    async fn pump(lines: usize, answer: impl Fn(&str) -> SendErrorKind) -> Failure {
        let mut output = Output::new(Mode::Human, TimeZone::UTC, Vec::new());
        let publish = |line: String| ready(Err(SendError::from(answer(&line))));
        Pump::new("tea", &mut output).run(input(lines), unpaced(), publish).await.unwrap_err()
    }

    #[tokio::test]
    async fn the_first_line_that_failed_is_named_and_reading_stops() {
        let failure = pump(2000, |_| SendErrorKind::TooLarge { size: 2, max: 1 }).await;
        assert_eq!(failure.code(), 1);
        assert!(failure.sentence().unwrap().starts_with("line 1 failed: 2 bytes"), "{failure:?}");
    }

    #[tokio::test]
    async fn what_is_in_doubt_is_counted_and_makes_the_outcome_unknown() {
        let failure = pump(1, |_| SendErrorKind::Unknown).await;
        assert_eq!(failure.code(), 4);
        assert!(failure.sentence().unwrap().ends_with("0 lines were stored, 1 may or may not have been"));
    }

    #[tokio::test]
    async fn a_client_that_gave_up_before_anything_was_sent_has_not_reached_the_server() {
        let failure = pump(3, |_| SendErrorKind::Closed).await;
        assert_eq!(failure.code(), 3);
        assert!(failure.sentence().unwrap().ends_with("0 lines were stored"), "{failure:?}");
    }

    fn ended(stored: u64, number: u64, outcome: Outcome) -> Failure {
        let mut output = Output::new(Mode::Human, TimeZone::UTC, Vec::new());
        let mut pump = Pump::new("tea", &mut output);
        pump.stored = stored;
        pump.fail(number, Failure::new(outcome, "why"));
        pump.outcome().unwrap_err()
    }

    #[test]
    fn not_reached_is_said_only_where_nothing_was_sent() {
        assert_eq!(ended(0, 1, Outcome::NotReached).code(), 3);
        assert_eq!(ended(1, 2, Outcome::NotReached).code(), 4);
        assert_eq!(ended(6, 7, Outcome::Refused).sentence(), Some("line 7 failed: why; 6 lines were stored"));
    }

    #[test]
    fn an_earlier_failure_is_the_one_that_is_told() {
        let mut output = Output::new(Mode::Human, TimeZone::UTC, Vec::new());
        let mut pump = Pump::new("tea", &mut output);
        pump.fail(9, Failure::usage("not UTF-8"));
        pump.note(3, refused()).unwrap();
        assert!(pump.outcome().unwrap_err().sentence().unwrap().starts_with("line 3 failed"));
    }

    /// A reader that has gone away.
    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
    }

    #[test]
    fn lines_are_sent_although_nobody_reads_their_seqs() {
        let mut output = Output::new(Mode::Human, TimeZone::UTC, Closed);
        let mut pump = Pump::new("tea", &mut output);
        assert_eq!(pump.write(|output| output.line("1")), Ok(()));
        assert_eq!(pump.write(|_| panic!("written to a closed pipe")), Ok(()));
        assert_eq!(pump.outcome(), Ok(()));
    }
}
