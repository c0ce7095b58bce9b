//! Those who are told: a syslog collector, a web server and a mail server, on loopback, a few lines each.

use super::daemon::PATIENCE;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;
use tempfile::TempDir;

/// An authority, and a certificate of it for this machine.
pub(super) struct Authority {
    folder: TempDir,
    pub(super) server: Arc<ServerConfig>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        Self { folder, server: Arc::new(server) }
    }

    pub(super) fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }
}

/// What a client writes to and reads from, with or without TLS.
trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

fn safe(stream: TcpStream, tls: Option<&Arc<ServerConfig>>) -> Box<dyn Stream> {
    match tls {
        None => Box::new(stream),
        Some(config) => {
            let connection = ServerConnection::new(Arc::clone(config)).unwrap();
            Box::new(StreamOwned::new(connection, stream))
        }
    }
}

/// Takes connections until it is dropped, each of them in a thread.
struct Listening {
    port: u16,
    open: Arc<Mutex<Vec<TcpStream>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listening {
    fn new(port: u16, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (open, ended) = (Arc::<Mutex<Vec<TcpStream>>>::default(), Arc::<AtomicBool>::default());
        let (serve, held, end) = (Arc::new(serve), Arc::clone(&open), Arc::clone(&ended));
        let thread = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if end.load(Ordering::Acquire) {
                    return;
                }
                held.lock().unwrap().push(stream.try_clone().unwrap());
                let serve = Arc::clone(&serve);
                thread::spawn(move || serve(stream));
            }
        });
        Self { port, open, ended, thread: Some(thread) }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // So that it looks.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// A syslog collector on TCP.
pub(super) struct Collector {
    listening: Listening,
    messages: Receiver<String>,
}

impl Collector {
    pub(super) fn start(port: u16, tls: Option<Arc<ServerConfig>>) -> Self {
        let (sender, messages) = channel();
        let listening = Listening::new(port, move |stream| {
            frames(safe(stream, tls.as_ref()), &sender);
        });
        Self { listening, messages }
    }

    pub(super) fn port(&self) -> u16 {
        self.listening.port
    }

    /// The next message, when there is one in time.
    pub(super) fn next(&self) -> String {
        self.messages.recv_timeout(PATIENCE).expect("a message for the collector")
    }

    /// Waits for one with this text in it.
    pub(super) fn until(&self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        while let Ok(message) =
            self.messages.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            if message.contains(text) {
                return message;
            }
            seen.push(message);
        }
        panic!("no {text:?} came to the collector: {seen:#?}");
    }

    /// Waits for messages with these texts in them, in whatever order; gives them in the order of the texts.
    pub(super) fn until_all<const N: usize>(&self, texts: [&str; N]) -> [String; N] {
        let mut found = texts.map(|_| None);
        while found.iter().any(Option::is_none) {
            let message = self.next();
            for (text, found) in texts.iter().zip(&mut found) {
                if found.is_none() && message.contains(text) {
                    *found = Some(message.clone());
                }
            }
        }
        found.map(Option::unwrap)
    }

    /// What came by now.
    pub(super) fn so_far(&self) -> Vec<String> {
        self.messages.try_iter().collect()
    }
}

/// Reads frames that begin with their length until the stream ends.
pub(super) fn frames(stream: impl Read, sender: &Sender<String>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut length = Vec::new();
        match stream.read_until(b' ', &mut length) {
            Ok(count) if count > 1 => {}
            Ok(_) | Err(_) => return,
        }
        let text = String::from_utf8(length).unwrap();
        let length: usize =
            text.trim_end().parse().unwrap_or_else(|_| panic!("{text:?} is no length"));
        assert!(!text.starts_with('0') && length <= 8_192, "{text}");
        let mut message = vec![0; length];
        if stream.read_exact(&mut message).is_err()
            || sender.send(String::from_utf8(message).unwrap()).is_err()
        {
            return;
        }
    }
}

/// A message of the audit trail has a number.
pub(super) fn number(message: &str) -> u64 {
    let rest = message.split("[audit@32473 id=\"").nth(1).expect(message);
    rest.split('"').next().unwrap().parse().unwrap()
}

/// What somebody posted.
pub(super) struct Posted {
    pub(super) path: String,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Posted {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A web server that answers what it is told to, and then 200.
pub(super) struct WebServer {
    listening: Listening,
    posted: Receiver<Posted>,
}

impl WebServer {
    pub(super) fn start(answers: &[&str], tls: Option<Arc<ServerConfig>>) -> Self {
        let (sender, posted) = channel();
        let mut answers: Vec<String> = answers.iter().map(|&answer| answer.to_owned()).collect();
        answers.reverse();
        let (sender, answers) = (Mutex::new(sender), Mutex::new(answers));
        let listening = Listening::new(0, move |stream| {
            let mut stream = BufReader::new(safe(stream, tls.as_ref()));
            let (mut head, mut length) = (String::new(), 0);
            while !head.ends_with("\r\n\r\n") {
                let mut line = String::new();
                if stream.read_line(&mut line).unwrap_or(0) == 0 {
                    return;
                }
                if let Some(rest) = line.to_lowercase().strip_prefix("content-length:") {
                    length = rest.trim().parse().unwrap();
                }
                head += &line;
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let path = head.split(' ').nth(1).unwrap().to_owned();
            let answer = answers.lock().unwrap().pop().unwrap_or_else(|| "200 OK\r\n".to_owned());
            let answer = format!("HTTP/1.1 {answer}content-length: 0\r\nconnection: close\r\n\r\n");
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
            let _ = stream.get_mut().flush();
            let _ = sender.lock().unwrap().send(Posted { path, head, body });
        });
        Self { listening, posted }
    }

    pub(super) fn port(&self) -> u16 {
        self.listening.port
    }

    pub(super) fn next(&self) -> Posted {
        self.posted.recv_timeout(PATIENCE).expect("a POST")
    }

    pub(super) fn so_far(&self) -> usize {
        self.posted.try_iter().count()
    }
}

/// Takes connections, and neither reads nor answers.
pub(super) struct Mute(Listening);

impl Mute {
    pub(super) fn start() -> Self {
        // Who listens holds the connections.
        Self(Listening::new(0, |_| {}))
    }

    pub(super) fn port(&self) -> u16 {
        self.0.port
    }
}

/// What somebody mailed: the envelope and the text.
pub(super) struct Mailed {
    pub(super) envelope: Vec<String>,
    pub(super) text: String,
}

/// A mail server. Without TLS it takes everything, with TLS only from who has signed in.
pub(super) struct MailServer {
    listening: Listening,
    mails: Receiver<Mailed>,
}

impl MailServer {
    pub(super) fn start(tls: Option<Arc<ServerConfig>>) -> Self {
        let (sender, mails) = channel();
        let sender = Mutex::new(sender);
        let listening = Listening::new(0, move |stream| {
            let secret = tls.is_some();
            if let Some(mail) = take_mail(&mut BufReader::new(safe(stream, tls.as_ref())), secret) {
                let _ = sender.lock().unwrap().send(mail);
            }
        });
        Self { listening, mails }
    }

    pub(super) fn port(&self) -> u16 {
        self.listening.port
    }

    /// Waits for one with this text in it.
    pub(super) fn until(&self, text: &str) -> Mailed {
        loop {
            let mail = self.mails.recv_timeout(PATIENCE).expect(text);
            if mail.text.contains(text) {
                return mail;
            }
        }
    }
}

fn take_mail(stream: &mut BufReader<Box<dyn Stream>>, secret: bool) -> Option<Mailed> {
    let mut mailed = None;
    let (mut envelope, mut signed_in) = (Vec::new(), !secret);
    say(stream, "220 mail.example");
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).unwrap_or(0) == 0 {
            return mailed;
        }
        let word = line.split([' ', ':', '\r']).next().unwrap().to_uppercase();
        match word.as_str() {
            "EHLO" if secret => say(stream, "250-mail.example\r\n250 AUTH PLAIN"),
            "EHLO" | "RSET" => say(stream, "250 mail.example"),
            // "\0user\0correct horse"
            "AUTH" if line.trim_end() == "AUTH PLAIN AHVzZXIAY29ycmVjdCBob3JzZQ==" => {
                signed_in = true;
                say(stream, "235 welcome");
            }
            "MAIL" | "RCPT" if signed_in => {
                envelope.push(line.trim_end().to_owned());
                say(stream, "250 ok");
            }
            "DATA" if signed_in => {
                say(stream, "354 go on");
                let mut text = String::new();
                while !text.ends_with("\r\n.\r\n") {
                    assert!(stream.read_line(&mut text).unwrap() > 0, "{text}");
                }
                mailed = Some(Mailed { envelope: std::mem::take(&mut envelope), text });
                say(stream, "250 2.0.0 queued as 4711");
            }
            "QUIT" => {
                say(stream, "221 bye");
                return mailed;
            }
            _ => say(stream, "530 5.7.0 not so"),
        }
    }
}

fn say(stream: &mut BufReader<Box<dyn Stream>>, text: &str) {
    let _ = stream.get_mut().write_all(format!("{text}\r\n").as_bytes());
    let _ = stream.get_mut().flush();
}
