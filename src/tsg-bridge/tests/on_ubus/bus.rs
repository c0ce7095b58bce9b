//! A broker of the crate `ubusd`, and a caller.

use crate::daemon::{PATIENCE, wait_for};
use nix::unistd::pipe;
use serde_json::Value;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Instant;
use ubus::client::{ObjectInfo, UbusClient};
use ubus::envelope::{UbusAttr, find};
use ubus::json::{blobmsg_to_json, json_to_blobmsg};
use ubus::unix::UnixUbusTransport;
use ubus::{BlobIter, BlobMsgTable, BlobValue, MsgType, UbusError};
use ubusd::{Broker, Config};

pub struct Bus {
    path: PathBuf,
    running: Option<(JoinHandle<()>, OwnedFd)>,
    _folder: tempfile::TempDir,
}

impl Bus {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut bus =
            Self { path: folder.path().join("ubus.sock"), running: None, _folder: folder };
        bus.restart();
        bus
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn restart(&mut self) {
        let socket_path = self.path.to_str().unwrap().to_owned();
        let mut broker = Broker::bind(Config { socket_path, ..Config::default() }).unwrap();
        let (bell, rope) = pipe().unwrap();
        broker.set_wake_pipe(bell);
        self.running = Some((thread::spawn(move || broker.run().unwrap()), rope));
    }

    /// Ends the broker: all connections close.
    pub fn stop(&mut self) {
        if let Some((broker, rope)) = self.running.take() {
            nix::unistd::write(&rope, b"T").unwrap();
            broker.join().unwrap();
        }
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.stop();
    }
}

pub struct Client(UbusClient<UnixUbusTransport>);

pub fn client(bus: &Bus) -> Client {
    let transport = UnixUbusTransport::connect(bus.path().to_str().unwrap()).unwrap();
    Client(UbusClient::connect(transport).unwrap())
}

impl Client {
    pub fn wait_for_object(&mut self, name: &str) -> ObjectInfo {
        let mut found = None;
        wait_for(name, || {
            found = self.0.lookup_objects(Some(name)).ok().and_then(|mut list| list.pop());
            found.is_some()
        });
        found.unwrap()
    }

    /// Methods with the types of their parameters.
    pub fn signature(&mut self, object: &ObjectInfo) -> Vec<(String, Vec<(String, i32)>)> {
        let types = |value| {
            let BlobValue::Table(inside) = value else { panic!("{value:?}") };
            let types = entries(inside).map(|(name, kind)| {
                let BlobValue::Int32(kind) = kind else { panic!("{kind:?}") };
                (name, kind)
            });
            types.collect()
        };
        entries(&object.signature).map(|(name, value)| (name, types(value))).collect()
    }

    pub fn call(
        &mut self,
        object: &str,
        method: &str,
        arguments: &Value,
    ) -> Result<Value, UbusError> {
        self.0.transport_mut().set_deadline(Some(PATIENCE));
        let id = self.0.lookup_objects(Some(object))?.pop().ok_or(UbusError::Status(4))?.id;
        let replies = self.0.invoke_many(id, method, &json_to_blobmsg(arguments)?)?;
        assert_eq!(replies.len(), 1, "{method}");
        blobmsg_to_json(&replies[0])
    }

    /// Asks and does not wait.
    pub fn begin_call(&mut self, object: &str, method: &str) {
        let id = self.0.lookup(object).unwrap();
        self.0.send_invoke(id, method, &BlobMsgTable::empty()).unwrap();
    }

    pub fn subscribe(&mut self, object: u32) {
        let own = self.0.add_anonymous_object().unwrap();
        self.0.subscribe(own, object).unwrap();
    }

    /// The first that is so.
    pub fn notification(&mut self, is: impl Fn(&Value) -> bool) -> (String, Value) {
        let deadline = Instant::now() + PATIENCE;
        let mut last = Value::Null;
        while Instant::now() < deadline {
            self.0.transport_mut().set_deadline(Some(PATIENCE));
            let Some(frame) = self.0.recv_frame().unwrap() else {
                ubus::Transport::wait_recv(self.0.transport_mut());
                continue;
            };
            if frame.hdr.ty != MsgType::Invoke {
                continue;
            }
            let what = find(&frame.payload, UbusAttr::Method).unwrap().as_str().unwrap();
            last = blobmsg_to_json(find(&frame.payload, UbusAttr::Data).unwrap().payload).unwrap();
            if is(&last) {
                return (what.to_owned(), last);
            }
        }
        panic!("the last was {last}");
    }
}

fn entries(bytes: &[u8]) -> impl Iterator<Item = (String, BlobValue<'_>)> {
    BlobIter::new(bytes).map(|it| (it.name.unwrap().to_owned(), it.value().unwrap()))
}
