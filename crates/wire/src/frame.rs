//! Frames on a peer connection: a fixed header with length and checksum, then the payload; and the
//! hello that opens every connection.

use crate::codec::{Reader, Wire, WireError};
#[cfg(test)]
use bytes::Bytes;
use quorate_types::{ClusterId, DiskId, Incarnation, NodeId, Slot};
use thiserror::Error;

/// The version this build writes. 2 brought [`Hello::agreements`], 3 [`Hello::told_starts`] and [`Hello::known_start`], 4 the logged
/// renewal that an end of a lease names.
pub const WIRE_VERSION: u64 = 4;
/// The oldest version this build talks to. Its hello is read in every version, so that who is too old is told so.
pub const WIRE_VERSION_OLDEST: u64 = 4;
/// The first version whose hello says what must be set alike.
const AGREEMENTS_SINCE: u64 = 2;
/// The first version whose hello proves that its sender's data go on from where the receiver knew them.
const STARTS_SINCE: u64 = 3;
/// Payload length and checksum, little-endian, four bytes each.
pub const FRAME_HEADER_BYTES: usize = 8;

/// What the fixed header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Payload bytes that follow.
    pub length: u32,
    /// CRC-32C of the payload.
    pub checksum: u32,
}

/// Why a frame was not taken. The connection is closed: what follows cannot be trusted to be a frame.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// Longer than the receiver allows.
    #[error("a frame of {length} bytes is over the limit of {limit}")]
    TooLong {
        /// Claimed payload length.
        length: u32,
        /// The receiver's limit.
        limit: u32,
    },
    /// The payload is not what was sent.
    #[error("a frame's checksum does not match its payload")]
    Checksum,
}

/// One frame ready to send.
///
/// # Panics
/// When the payload is 4 GiB or longer; senders bound their batches far below.
#[must_use]
pub fn encode_frame(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("batches are bounded far below 4 GiB");
    let mut out = Vec::with_capacity(FRAME_HEADER_BYTES + payload.len());
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(payload).to_le_bytes());
    out.extend_from_slice(payload);
    out
}

/// Reads a header.
///
/// # Errors
/// [`FrameError::TooLong`] when it claims more than `limit`.
pub fn decode_frame_header(header: [u8; FRAME_HEADER_BYTES], limit: u32) -> Result<FrameHeader, FrameError> {
    let [a, b, c, d, e, f, g, h] = header;
    let header = FrameHeader { length: u32::from_le_bytes([a, b, c, d]), checksum: u32::from_le_bytes([e, f, g, h]) };
    if header.length > limit {
        return Err(FrameError::TooLong { length: header.length, limit });
    }
    Ok(header)
}

/// Checks a payload against its header.
///
/// # Errors
/// [`FrameError::Checksum`] when it differs.
pub fn verify_frame(header: FrameHeader, payload: &[u8]) -> Result<(), FrameError> {
    if crc32c::crc32c(payload) == header.checksum { Ok(()) } else { Err(FrameError::Checksum) }
}

/// A setting that all members must have alike, in words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Agreement {
    /// What is set, as an operator names it.
    pub setting: String,
    /// To what, with its unit.
    pub value: String,
}

impl Agreement {
    /// `setting` is `value` here.
    #[must_use]
    pub fn new(setting: &str, value: impl Into<String>) -> Agreement {
        Agreement { setting: setting.to_owned(), value: value.into() }
    }
}

impl Wire for Agreement {
    fn encode(&self, out: &mut Vec<u8>) {
        self.setting.encode(out);
        self.value.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(Agreement { setting: String::decode(input)?, value: String::decode(input)? })
    }
}

/// One start of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeStart {
    /// Which start of its journal it is.
    pub number: Incarnation,
    /// Drawn at random at that start: copies of one journal that are started count alike, and are named otherwise.
    pub name: u64,
}

impl Wire for NodeStart {
    fn encode(&self, out: &mut Vec<u8>) {
        self.number.encode(out);
        self.name.encode(out);
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        Ok(NodeStart { number: Incarnation::decode(input)?, name: u64::decode(input)? })
    }
}

/// The first frame in each direction of a connection. A receiver refuses, by name, another cluster,
/// another protocol, a version range that does not meet its own, settings that must be alike and are not, and a known node
/// with another disk. Fields are only ever added at its end, each with a version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hello {
    /// The sender's cluster.
    pub cluster: ClusterId,
    /// The sender.
    pub node: NodeId,
    /// Whom the sender means to reach.
    pub to: NodeId,
    /// The sender's disk.
    pub disk: DiskId,
    /// The sender's incarnation.
    pub incarnation: Incarnation,
    /// Drawn at random at every start: two starts with one incarnation are starts from copies of one disk.
    pub start: u64,
    /// The protocol's name, such as `raft`.
    pub protocol: String,
    /// Oldest wire version the sender reads.
    pub version_oldest: u64,
    /// Newest wire version the sender reads.
    pub version_newest: u64,
    /// The sender's name for people.
    pub name: String,
    /// Where clients reach the sender, for member lists.
    pub client_urls: Vec<String>,
    /// Where members reach the sender: the receiver may not know yet that it is one.
    pub peer_urls: Vec<String>,
    /// The slot of the last change of members decided at the sender; 0 for none. A receiver that does not know the sender, and
    /// knows no later change, is behind.
    pub members_decided_at: Slot,
    /// The sender's settings that all members must have alike, by name.
    pub agreements: Vec<Agreement>,
    /// The starts of which the sender's directory says that it told the receiver, oldest first, from the newest that the receiver is
    /// known to know. All are durable at the sender. This start is the last of them, unless the sender could not write it down.
    pub told_starts: Vec<NodeStart>,
    /// The receiver's newest start that the sender knows and will not forget.
    pub known_start: Option<NodeStart>,
}

impl Hello {
    /// The sender's start.
    #[must_use]
    pub fn this_start(&self) -> NodeStart {
        NodeStart { number: self.incarnation, name: self.start }
    }
}

impl Wire for Hello {
    fn encode(&self, out: &mut Vec<u8>) {
        self.cluster.encode(out);
        self.node.encode(out);
        self.to.encode(out);
        self.disk.encode(out);
        self.incarnation.encode(out);
        self.start.encode(out);
        self.protocol.encode(out);
        self.version_oldest.encode(out);
        self.version_newest.encode(out);
        self.name.encode(out);
        self.client_urls.encode(out);
        self.peer_urls.encode(out);
        self.members_decided_at.encode(out);
        if self.version_newest >= AGREEMENTS_SINCE {
            self.agreements.encode(out);
        }
        if self.version_newest >= STARTS_SINCE {
            self.told_starts.encode(out);
            self.known_start.encode(out);
        }
    }
    fn decode(input: &mut Reader) -> Result<Self, WireError> {
        let mut hello = Hello {
            cluster: ClusterId::decode(input)?,
            node: NodeId::decode(input)?,
            to: NodeId::decode(input)?,
            disk: DiskId::decode(input)?,
            incarnation: Incarnation::decode(input)?,
            start: u64::decode(input)?,
            protocol: String::decode(input)?,
            version_oldest: u64::decode(input)?,
            version_newest: u64::decode(input)?,
            name: String::decode(input)?,
            client_urls: Vec::decode(input)?,
            peer_urls: Vec::decode(input)?,
            members_decided_at: Slot::decode(input)?,
            agreements: Vec::new(),
            told_starts: Vec::new(),
            known_start: None,
        };
        if hello.version_newest >= AGREEMENTS_SINCE {
            hello.agreements = Vec::decode(input)?;
        }
        if hello.version_newest >= STARTS_SINCE {
            hello.told_starts = Vec::decode(input)?;
            hello.known_start = Option::decode(input)?;
        }
        Ok(hello)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use quorate_types::{Member, Membership};

    proptest! {
        #[test]
        fn any_bytes_decode_to_a_value_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::new(Bytes::from(bytes.clone()));
            let _ = Hello::decode(&mut reader);
            if let Ok(membership) = crate::decode_exact::<Membership>(Bytes::from(bytes)) {
                let again = crate::encode_to_bytes(&membership);
                prop_assert_eq!(crate::decode_exact::<Membership>(again), Ok(membership));
            }
        }

        #[test]
        fn numbers_round_trip(number: u64) {
            let bytes = crate::encode_to_bytes(&number);
            prop_assert!(bytes.len() <= 10);
            prop_assert_eq!(crate::decode_exact::<u64>(bytes), Ok(number));
        }

        #[test]
        fn a_flipped_bit_in_a_payload_is_noticed(payload in proptest::collection::vec(any::<u8>(), 1..100), bit in 0usize..800) {
            let mut frame = encode_frame(&payload);
            let bit = bit % (payload.len() * 8);
            frame[FRAME_HEADER_BYTES + bit / 8] ^= 1 << (bit % 8);
            let header = decode_frame_header(frame[..FRAME_HEADER_BYTES].try_into().unwrap(), 1000).unwrap();
            prop_assert_eq!(verify_frame(header, &frame[FRAME_HEADER_BYTES..]), Err(FrameError::Checksum));
        }
    }

    fn hello(version: u64, agreements: Vec<Agreement>) -> Hello {
        Hello {
            cluster: ClusterId(7),
            node: NodeId(2),
            to: NodeId(1),
            disk: DiskId(200),
            incarnation: Incarnation(1),
            start: 77,
            protocol: "raft".to_owned(),
            version_oldest: version,
            version_newest: version,
            name: "b".to_owned(),
            client_urls: Vec::new(),
            peer_urls: vec!["http://127.0.0.1:1".to_owned()],
            members_decided_at: Slot(3),
            agreements,
            told_starts: Vec::new(),
            known_start: None,
        }
    }

    #[test]
    fn a_hello_says_what_must_be_alike_and_one_of_before_is_read_still() {
        let mut now = hello(WIRE_VERSION, vec![Agreement::new("lease-reads", "off")]);
        now.told_starts = vec![NodeStart { number: Incarnation(3), name: u64::MAX }, now.this_start()];
        now.known_start = Some(NodeStart { number: Incarnation(8), name: 5 });
        assert_eq!(crate::decode_exact(crate::encode_to_bytes(&now)), Ok(now));
        for version in [1, 2] {
            let before = hello(version, Vec::new());
            assert_eq!(crate::decode_exact(crate::encode_to_bytes(&before)), Ok(before));
        }
    }

    #[test]
    fn membership_keeps_its_order_of_ids() {
        let membership = Membership::new([3, 1, 2].map(|id| Member::voter(NodeId(id))));
        let back: Membership = crate::decode_exact(crate::encode_to_bytes(&membership)).unwrap();
        assert_eq!(back.voters().collect::<Vec<_>>(), [NodeId(1), NodeId(2), NodeId(3)]);
    }

    #[test]
    fn a_list_that_claims_more_than_the_input_holds_is_refused_without_allocating() {
        let mut bytes = Vec::new();
        crate::put_u64(u64::MAX / 2, &mut bytes);
        assert_eq!(crate::decode_exact::<Vec<u64>>(Bytes::from(bytes)), Err(WireError::Truncated { what: "list" }));
    }
}
