//! Peers that do not speak Hark, or not well: they go, are counted, and nobody else notices.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use hark_tests::process::{Process, command};
use hark_tests::server::Server;

/// What strangers send to any open port.
const GARBAGE: &[&[u8]] = &[
    b"",
    b"\0",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"HARK\x01\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00",
    b"SSH-2.0-OpenSSH_9.9\r\n",
    // A TLS record that promises more than it holds, and one of an alert.
    b"\x16\x03\x01\x40\x00\x01",
    b"\x15\x03\x03\x00\x02\x02\x28",
    &[0xff; 4096],
];

#[test]
fn garbage_on_the_port_harms_nobody() {
    let server = Server::start();
    let alice = server.person("alice");
    alice.run("create tea").done();
    let tail = alice.start("tail tea --json --from start");
    tail.lines(1, hark_tests::scale::PATIENCE);

    for garbage in GARBAGE {
        let mut stream = server.connect();
        // The server may have closed before all of it was taken.
        let _ = stream.write_all(garbage).and_then(|()| stream.shutdown(Shutdown::Write));
        let answer = read_to_end(stream);
        assert!(!answer.starts_with(b"HARK"), "spoke the protocol outside TLS");
    }
    let mut halves: Vec<TcpStream> = (0..20).map(|_| server.connect()).collect();
    for half in &mut halves {
        half.write_all(b"\x16\x03\x01").expect("just connected");
    }

    assert_eq!(alice.send("tea", "nobody noticed"), 2);
    tail.lines(2, hark_tests::scale::PATIENCE);
    assert_eq!(server.page("/healthz").0, 200);
}

fn read_to_end(mut stream: TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// Frames that are not frames, inside a TLS connection that is in order.
const BROKEN_FRAMES: &[(&str, &[u8])] = &[
    ("another protocol", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("a length beyond all bounds", b"HARK\x01\x00\x00\x01\x00\x00\x00\x01\xff\xff\xff\xff\x00\x00\x00\x00"),
    ("a wrong checksum", b"HARK\x01\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00"),
    (
        "a version that nobody agreed on",
        b"HARK\x09\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00",
    ),
];

#[test]
fn broken_frames_end_their_own_connection() {
    let server = Server::start();
    let alice = server.person("alice");
    alice.run("create tea").done();
    for (what, bytes) in BROKEN_FRAMES {
        let answer = hark_tests::tls::exchange(&server, bytes);
        assert!(answer.is_empty() || answer.starts_with(b"HARK"), "{what}: {answer:02x?}");
        assert_eq!(server.page("/readyz").0, 200, "{what}");
    }
    assert_eq!(alice.send("tea", "nobody noticed"), 2);
}

#[test]
fn health_readiness_and_metrics_are_served() {
    let server = Server::start();
    let alice = server.person("alice");
    alice.run("create tea").done();
    alice.send("tea", "counted");
    for page in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(server.page(page).0, 200, "{page}");
    }
    assert_eq!(server.page("/nothing").0, 404);
    let (_, metrics) = server.page("/metrics");
    for body in ["counted", "alice"] {
        assert!(!metrics.contains(body), "the metrics tell about people: {body}");
    }
    let mut list = command("sh");
    list.args(["-c", "ls -ld hark-data | cut -c1-10"]).current_dir(server.place().folder());
    assert_eq!(
        Process::start("ls", list).end().done().trim(),
        "drwx------",
        "the data folder is open to others"
    );
}
