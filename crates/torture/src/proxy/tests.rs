use super::*;
use quorate_types::{ClusterId, DiskId, Incarnation, NodeId, Slot};
use quorate_wire::{encode_frame, encode_to_bytes};

const SOON: Duration = Duration::from_secs(20);
const A_WHILE: Duration = Duration::from_millis(200);

fn hello(name: &str) -> Hello {
    Hello {
        cluster: ClusterId(1),
        node: NodeId(2),
        to: NodeId(3),
        disk: DiskId(4),
        incarnation: Incarnation(5),
        start: 6,
        protocol: "raft".to_owned(),
        version_oldest: 2,
        version_newest: 2,
        name: name.to_owned(),
        client_urls: Vec::new(),
        peer_urls: Vec::new(),
        members_decided_at: Slot(0),
        agreements: Vec::new(),
    }
}

/// A member that listens, its proxy, and the rules.
struct Bench {
    listener: TcpListener,
    proxy: PeerProxy,
    rules: watch::Sender<Rules>,
    harm: Arc<HarmDone>,
}

impl Bench {
    async fn new() -> Bench {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (rules, seen) = watch::channel(Rules::new());
        let harm = Arc::new(HarmDone::default());
        let address = listener.local_addr().unwrap();
        let proxy = PeerProxy::start("b".to_owned(), address, seen, Arc::clone(&harm)).await.unwrap();
        Bench { listener, proxy, rules, harm }
    }

    fn set(&self, from: &str, to: &str, state: LinkState) {
        self.rules.send_modify(|rules| _ = rules.insert((from.to_owned(), to.to_owned()), state));
    }

    async fn dial(&self, name: &str) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.proxy.port)).await.unwrap();
        stream.write_all(&encode_frame(&encode_to_bytes(&hello(name)))).await.unwrap();
        stream
    }

    /// The member's end of a connection, its hello read.
    async fn accept(&self, name: &str) -> TcpStream {
        let (mut stream, _) = tokio::time::timeout(SOON, self.listener.accept()).await.unwrap().unwrap();
        let (_, told) = first_frame(&mut stream).await.unwrap();
        assert_eq!(told.as_deref(), Some(name));
        stream
    }
}

async fn hears(stream: &mut TcpStream, what: &[u8]) {
    let mut heard = vec![0; what.len()];
    tokio::time::timeout(SOON, stream.read_exact(&mut heard)).await.unwrap().unwrap();
    assert_eq!(heard, what);
}

async fn hears_nothing(stream: &mut TcpStream) {
    let mut byte = [0];
    assert!(tokio::time::timeout(A_WHILE, stream.read(&mut byte)).await.is_err(), "something came: {byte:?}");
}

#[tokio::test]
async fn what_is_held_passes_later_and_the_other_direction_goes_on() {
    let bench = Bench::new().await;
    let mut dialler = bench.dial("a").await;
    let mut member = bench.accept("a").await;
    dialler.write_all(b"one").await.unwrap();
    hears(&mut member, b"one").await;
    bench.set("a", "b", LinkState::Held);
    dialler.write_all(b"two").await.unwrap();
    hears_nothing(&mut member).await;
    member.write_all(b"back").await.unwrap();
    hears(&mut dialler, b"back").await;
    bench.set("a", "b", LinkState::Open);
    hears(&mut member, b"two").await;
    assert_eq!(bench.harm.pieces_held.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_refused_link_loses_its_connections_and_gets_no_new_ones_while_others_keep_theirs() {
    let bench = Bench::new().await;
    let mut cut_off = bench.dial("a").await;
    let _member_of_a = bench.accept("a").await;
    let mut other = bench.dial("c").await;
    let mut member_of_c = bench.accept("c").await;
    bench.set("a", "b", LinkState::Refused);
    let ended = tokio::time::timeout(SOON, cut_off.read(&mut [0])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)));
    let mut again = bench.dial("a").await;
    let ended = tokio::time::timeout(SOON, again.read(&mut [0])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)));
    other.write_all(b"on").await.unwrap();
    hears(&mut member_of_c, b"on").await;
    assert!(bench.harm.connections_refused.load(Ordering::Relaxed) >= 2);
}

#[tokio::test]
async fn the_end_of_a_connection_is_held_too() {
    let bench = Bench::new().await;
    let dialler = bench.dial("a").await;
    let mut member = bench.accept("a").await;
    bench.set("a", "b", LinkState::Held);
    drop(dialler);
    hears_nothing(&mut member).await;
    bench.set("a", "b", LinkState::Open);
    let ended = tokio::time::timeout(SOON, member.read(&mut [0])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)));
}

#[tokio::test]
async fn pieces_come_late_and_trickle() {
    let bench = Bench::new().await;
    let mut dialler = bench.dial("a").await;
    let mut member = bench.accept("a").await;
    bench.set("a", "b", LinkState::Late { by_ms: 300 });
    let sent = tokio::time::Instant::now();
    dialler.write_all(b"late").await.unwrap();
    hears(&mut member, b"late").await;
    assert!(sent.elapsed() >= Duration::from_millis(300));
    bench.set("a", "b", LinkState::Slow { bytes_per_second: 10_000 });
    let sent = tokio::time::Instant::now();
    dialler.write_all(&[7; 3_000]).await.unwrap();
    hears(&mut member, &[7; 3_000]).await;
    assert!(sent.elapsed() >= Duration::from_millis(250), "{:?}", sent.elapsed());
}

#[tokio::test]
async fn a_question_without_a_hello_passes_whatever_the_rules() {
    let bench = Bench::new().await;
    bench.set("a", "b", LinkState::Refused);
    let mut stream = TcpStream::connect(("127.0.0.1", bench.proxy.port)).await.unwrap();
    stream.write_all(&encode_frame(b"who is there?")).await.unwrap();
    let (mut member, _) = tokio::time::timeout(SOON, bench.listener.accept()).await.unwrap().unwrap();
    let (_, name) = first_frame(&mut member).await.unwrap();
    assert_eq!(name, None);
}
