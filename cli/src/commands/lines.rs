//! The lines of an input, each of them a message, read ahead of the sending and bounded in length and number.

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};
use tokio::sync::mpsc;

/// A line of the input, or why there is none.
pub(crate) type Line = Result<String, String>;

/// Lines that were read and wait to be taken.
const LINES_WAITING_MAX: usize = 256;

/// Bytes of a line: more than any server takes, so that a longer one is not worth reading to its end.
const LINE_BYTES_MAX: u64 = 1024 * 1024;

/// Reads lines in the background, at most so many ahead; at the bound the input waits. A line that can not be a
/// message is the last one.
pub(crate) fn read(mut input: impl AsyncBufRead + Unpin + Send + 'static) -> mpsc::Receiver<Line> {
    let (sender, receiver) = mpsc::channel(LINES_WAITING_MAX);
    tokio::spawn(async move {
        while let Some(line) = next(&mut input).await {
            let is_last = line.is_err();
            if sender.send(line).await.is_err() || is_last {
                break;
            }
        }
    });
    receiver
}

async fn next(input: &mut (impl AsyncBufRead + Unpin)) -> Option<Line> {
    let mut line = Vec::new();
    match input.take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await {
        Ok(0) => return None,
        Ok(_) => {}
        Err(error) => return Some(Err(format!("the standard input can not be read: {error}"))),
    }
    if line.len() as u64 == LINE_BYTES_MAX && line.last() != Some(&b'\n') {
        return Some(Err(format!("it is longer than {LINE_BYTES_MAX} bytes")));
    }
    for end in *b"\n\r" {
        if line.last() == Some(&end) {
            line.pop();
        }
    }
    Some(String::from_utf8(line).map_err(|_| "it is not UTF-8".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines_of(bytes: &[u8]) -> Vec<Line> {
        let mut input = bytes;
        let mut lines = Vec::new();
        while let Some(line) = next(&mut input).await {
            lines.push(line);
        }
        lines
    }

    #[tokio::test]
    async fn every_line_is_a_message_and_the_last_needs_no_end() {
        let lines = lines_of(b"a\r\n\n\xc3\xa9\nlast").await;
        assert_eq!(lines, [Ok("a".into()), Ok(String::new()), Ok("é".into()), Ok("last".into())]);
        assert_eq!(lines_of(b"").await, []);
        assert!(lines_of(b"\xff\n").await[0].is_err());
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_not_read_into_memory() {
        let long = vec![b'x'; 2 * 1024 * 1024];
        assert!(lines_of(&long).await[0].is_err());
    }

    #[tokio::test]
    async fn nothing_follows_a_line_that_can_not_be_sent() {
        let mut lines = read(std::io::Cursor::new(b"a\n\xff\nb\n"));
        assert_eq!(lines.recv().await, Some(Ok("a".into())));
        assert!(lines.recv().await.is_some_and(|line| line.is_err()));
        assert_eq!(lines.recv().await, None);
    }
}
