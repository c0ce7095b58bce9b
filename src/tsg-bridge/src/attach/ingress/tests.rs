//! What the worker does with a frame that is several packets.

use super::*;
use tsg_esp::checksum;

/// Lets all pass, as a gateway in series does with what is sealed, and gives a copy of some beside it.
struct Copying {
    asked: usize,
    copies: usize,
}

impl Handler for Copying {
    fn handle(&mut self, frame: &mut Frame<'_>, out: &mut Outbox) -> Verdict {
        self.asked += 1;
        if self.asked <= self.copies {
            out.push(frame.from.other(), frame.packet.bytes()).unwrap();
        }
        Verdict::Pass
    }

    fn idle(&mut self) {}
}

fn worker(shared: &Arc<Shared>, copies: usize) -> Worker {
    let handler = Box::new(Copying { asked: 0, copies });
    let mut worker = Worker::open(Arc::clone(shared), &[], 0, handler).unwrap();
    worker.places = vec![(Side::Lan, 0), (Side::Wan, 0)];
    worker
}

fn shared() -> Arc<Shared> {
    let lan = vec!["tsg-none".to_owned()];
    Arc::new(Shared::new(&Ports { lan, wan: "tsg-none".to_owned(), ..Ports::default() }, 1))
}

/// A frame of so many UDP packets of 100 bytes that nobody has cut yet.
fn uncut(packets: usize) -> Vec<u8> {
    let body = 100 * packets;
    let mut frame = vec![4, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    frame.extend([0x45, 0]);
    frame.extend(u16::try_from(28 + body).unwrap().to_be_bytes());
    frame.extend([0, 1, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    let sum = checksum::of(&frame[14..34]).to_be_bytes();
    frame[24..26].copy_from_slice(&sum);
    frame.extend([0x4e, 0x20, 0x4e, 0x20]);
    frame.extend(u16::try_from(8 + body).unwrap().to_be_bytes());
    frame.extend([0, 0]);
    frame.resize(frame.len() + body, 7);
    frame
}

/// Gives the frame from the WAN to the worker.
fn give(worker: &mut Worker, frame: &[u8]) {
    let mut buffer = vec![0; HEAD_ROOM + FRAME + TAIL_ROOM];
    let place = HEAD_ROOM..HEAD_ROOM + frame.len();
    buffer[place.clone()].copy_from_slice(frame);
    let header = Header::parse(frame).unwrap();
    let mut raw = Raw { header: virtio::Header::default(), buffer: &mut buffer, place };
    let exits = Exits { wan: false, lan: Lan::One(0) };
    let way = Way { from: Side::Wan, in_port: 0, lan_port: 0, exits };
    worker.cut(&mut raw, &header, Version::V4, (Kind::Udp, 100, true), &way);
}

#[test]
#[ignore = "needs root: a packet socket"]
fn copies_go_with_the_frame_that_they_are_of() {
    // Copies, of how many packets the handler was asked about, of 5 in a frame.
    for (copies, asked) in [(0, 1), (1, 5), (3, 5), (5, 5)] {
        let mut worker = worker(&shared(), copies);
        give(&mut worker, &uncut(5));
        let Counters { frames, passed, extra, sent, .. } = worker.counters;
        assert_eq!((frames, passed, extra, sent), (asked, 1, copies as u64, 0), "{copies} copies");
        assert!(worker.outbox.is_empty());
    }
}

#[test]
#[ignore = "needs root: a packet socket"]
fn a_worker_counts_on_where_the_one_before_it_ended() {
    let shared = shared();
    let mut first = worker(&shared, 0);
    give(&mut first, &uncut(5));
    shared.publish(0, first.counters);
    drop(first);
    let mut second = worker(&shared, 0);
    give(&mut second, &uncut(5));
    shared.publish(0, second.counters);
    assert_eq!(shared.counted(0).passed, 2);
}
