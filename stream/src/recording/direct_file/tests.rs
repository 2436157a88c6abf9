//! Tests of [`DirectFile`](super::DirectFile): on disks in memory that are full or refuse, and on one that is real.

use bytes::Bytes;
use flexbond_transport::Message;
use proptest::prelude::*;

use super::*;
use crate::recording::encoder::Encoder;
use crate::recording::file_writer::FileWriter;
use crate::recording::{Compression, DirectWrites, Reader, Timestamp};

const BLOCK: usize = 64;

/// A file in memory, and a disk with so much room.
#[derive(Debug)]
struct Disk {
    bytes: Vec<u8>,
    room: usize,
    direct: Direct,
    directly: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Direct {
    /// A write that does not fit fails as a whole, as on ext4.
    Whole,
    /// One block at a time.
    Short,
    Refused,
    /// Refused from so many bytes on, as it may be beyond a limit.
    RefusedFrom(usize),
    /// There is no alignment.
    Unknown,
}

impl ReadAt for Disk {
    fn size(&self) -> io::Result<u64> {
        self.bytes.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.bytes.read_at(buf, offset)
    }
}

impl Descriptor for Disk {
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let (before, room) = (self.bytes.len(), self.room - self.bytes.len());
        let slices = slices.iter().flat_map(|slice| slice.iter().copied());
        self.bytes.extend(slices.take(room));
        match self.bytes.len() - before {
            0 => Err(io::ErrorKind::StorageFull.into()),
            written => Ok(written),
        }
    }

    fn write_direct(&mut self, blocks: &[u8]) -> io::Result<usize> {
        assert!(!blocks.is_empty());
        assert_eq!((self.bytes.len() % BLOCK, blocks.len() % BLOCK), (0, 0));
        assert_eq!(blocks.as_ptr().addr() % BLOCK, 0);
        self.directly += 1;
        let len = match self.direct {
            Direct::Whole => blocks.len(),
            Direct::Short => BLOCK,
            Direct::RefusedFrom(len) if self.bytes.len() < len => BLOCK,
            Direct::Refused | Direct::RefusedFrom(_) => return Err(io::ErrorKind::InvalidInput.into()),
            Direct::Unknown => panic!("it said that there are no direct writes"),
        };
        if self.room - self.bytes.len() < len {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(&blocks[..len]);
        Ok(len)
    }

    fn alignment(&self) -> Option<usize> {
        (self.direct != Direct::Unknown).then_some(BLOCK)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.bytes.truncate(len as usize);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn file(direct: Direct, room: usize, policy: DirectWrites) -> DirectFile<Disk> {
    let disk = Disk {
        bytes: Vec::new(),
        room,
        direct,
        directly: 0,
    };
    DirectFile {
        buffer_len: 4 * BLOCK,
        worthwhile: 0,
        ..DirectFile::new(disk, Chooser::new(policy, true))
    }
}

fn disk(file: &DirectFile<Disk>) -> &Disk {
    file.file.as_ref().expect("it has landed")
}

fn batch(bytes: &[u8]) -> Batch {
    let mut batch = Batch::new();
    // Copied and shared pieces, in turns.
    for (n, piece) in bytes.chunks(90).enumerate() {
        match n % 2 {
            0 => drop(batch.copy(piece)),
            _ => batch.share(Bytes::copy_from_slice(piece)),
        }
    }
    batch
}

#[derive(Clone, Debug)]
enum Step {
    Write {
        len: usize,
        direct: bool,
        everything: bool,
    },
    Truncate(prop::sample::Index),
    Sync,
    /// As when the next file of a recording is begun.
    Next,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..1_000_usize, any::<bool>(), any::<bool>()).prop_map(|(len, direct, everything)| Step::Write {
            len,
            direct,
            everything
        }),
        2 => any::<prop::sample::Index>().prop_map(Step::Truncate),
        1 => Just(Step::Sync),
        1 => Just(Step::Next),
    ]
}

fn direct() -> impl Strategy<Value = Direct> {
    prop_oneof![
        Just(Direct::Whole),
        Just(Direct::Short),
        Just(Direct::Refused),
        (0..4_000_usize).prop_map(Direct::RefusedFrom),
        Just(Direct::Unknown),
    ]
}

proptest! {
    #[test]
    fn a_file_is_the_same_whichever_ways_it_was_written(
        steps in prop::collection::vec(step(), 1..40),
        direct in direct(),
    ) {
        let mut written = file(direct, usize::MAX, DirectWrites::Auto);
        let (mut expected, mut next) = (Vec::new(), 0_u8);
        for step in steps {
            let everything = match step {
                Step::Write { len, direct, everything } => {
                    let bytes: Vec<u8> = (0..len).map(|_| { next = next.wrapping_mul(5).wrapping_add(3); next }).collect();
                    written.chooser = Chooser::new(match direct {
                        true => DirectWrites::Always,
                        false => DirectWrites::Never,
                    }, false);
                    let reach = match everything {
                        true => Reach::Everything,
                        false => Reach::Blocks,
                    };
                    written.write(&batch(&bytes), reach).unwrap();
                    expected.extend(bytes);
                    everything
                }
                Step::Truncate(at) => {
                    // To what is in the file, as after a survey of it.
                    let len = at.index(disk(&written).bytes.len() + 1);
                    written.truncate(len as u64).unwrap();
                    expected.truncate(len);
                    true
                }
                Step::Sync => {
                    written.sync().unwrap();
                    true
                }
                Step::Next => {
                    let disk = Disk { bytes: Vec::new(), room: usize::MAX, direct, directly: 0 };
                    written.write(&Batch::new(), Reach::Everything).unwrap();
                    written = written.followed_by(disk);
                    expected.clear();
                    true
                }
            };
            written.land().unwrap();
            let there = disk(&written).bytes.len();
            prop_assert!(there + BLOCK > expected.len() && (there == expected.len() || !everything));
            prop_assert_eq!(&disk(&written).bytes[..], &expected[..there]);
        }
        written.write(&Batch::new(), Reach::Everything).unwrap();
        prop_assert_eq!(&disk(&written).bytes, &expected);
    }
}

#[test]
fn a_file_that_refuses_is_asked_once() {
    for (direct, asked) in [(Direct::Refused, 1), (Direct::Unknown, 0)] {
        let mut file = file(direct, usize::MAX, DirectWrites::Always);
        for _ in 0..5 {
            file.write(&batch(&[7; 1_000]), Reach::Blocks).unwrap();
        }
        file.sync().unwrap();
        assert_eq!((disk(&file).directly, disk(&file).bytes.len()), (asked, 5_000));
    }
}

#[test]
fn little_goes_through_the_cache() {
    let mut file = file(Direct::Whole, usize::MAX, DirectWrites::Always);
    file.worthwhile = 500;
    file.write(&batch(&[7; 499]), Reach::Everything).unwrap();
    assert_eq!(disk(&file).directly, 0);
    file.write(&batch(&[7; 500]), Reach::Everything).unwrap();
    assert!(disk(&file).directly > 0);
    assert_eq!(disk(&file).bytes.len(), 999);
}

#[test]
fn other_errors_are_told() {
    #[derive(Debug)]
    struct Broken;
    impl ReadAt for Broken {
        fn size(&self) -> io::Result<u64> {
            Ok(0)
        }
        fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
            Ok(0)
        }
    }
    impl Descriptor for Broken {
        fn write(&mut self, _: &[IoSlice<'_>]) -> io::Result<usize> {
            panic!("an error of the disk was passed over")
        }
        fn write_direct(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is broken"))
        }
        fn alignment(&self) -> Option<usize> {
            Some(BLOCK)
        }
        fn truncate(&mut self, _: u64) -> io::Result<()> {
            Ok(())
        }
        fn sync(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut file = DirectFile::new(Broken, Chooser::new(DirectWrites::Always, false));
    let error = file
        .write(&batch(&vec![7; BUFFER]), Reach::Everything)
        .unwrap_err();
    assert_eq!(error.to_string(), "the disk is broken");
}

#[test]
fn a_disk_that_is_full_at_any_byte_keeps_every_whole_message_of_direct_writes() {
    let message = |number: u64| Message::from(vec![number as u8; 10 + 40 * number as usize % 170]);
    let push = |writer: &mut FileWriter<DirectFile<Disk>>, number: u64| {
        writer
            .push(&message(number), Timestamp::from_nanos(number as i64))
            .unwrap();
        match number % 4 {
            3 => writer.flush(),
            1 => writer.write_blocks(),
            _ => Ok(()),
        }
    };
    let begin = |room, direct| {
        let mut batch = Batch::new();
        let encoder = Encoder::new(1, Timestamp::from_nanos(1), Compression::None, &mut batch).unwrap();
        FileWriter::begin(file(direct, room, DirectWrites::Always), encoder, batch).unwrap()
    };
    for direct in [Direct::Whole, Direct::Short] {
        let mut whole = begin(usize::MAX, direct);
        // Where the file ends after each message.
        let ends: Vec<u64> = (0..18)
            .map(|number| {
                push(&mut whole, number).unwrap();
                whole.encoder().offset()
            })
            .collect();
        whole.finish().unwrap();
        let storage = whole.into_storage();
        let whole = disk(&storage);
        assert!(whole.directly > 10);
        // At the end of each message every byte; between, some: all of them take twenty seconds.
        let at_an_end = |room: usize| ends.iter().any(|end| end.abs_diff(room as u64) < 3);
        for room in (64..whole.bytes.len()).filter(|&room| at_an_end(room) || room % 11 == 0) {
            let mut writer = begin(room, direct);
            let stopped = (0..18).find_map(|number| {
                push(&mut writer, number)
                    .err()
                    .map(|stopped| (stopped, number + 1))
            });
            let (stopped, pushed) = stopped.unwrap_or_else(|| (writer.finish().unwrap_err(), 18));
            let kept = ends.iter().filter(|&&end| end <= room as u64).count() as u64;
            assert_eq!(
                (stopped.kept, stopped.lost),
                (kept, pushed - kept),
                "{direct:?}, room {room}"
            );
            let reader = Reader::new(disk(&writer.into_storage()).bytes.clone()).unwrap();
            assert_eq!(
                (reader.info().bytes_lost, reader.info().closed_cleanly),
                (0, stopped.closed),
                "{direct:?}, room {room}"
            );
            let read: Vec<Message> = reader.map(|recorded| recorded.unwrap().message).collect();
            assert_eq!(read, (0..kept).map(message).collect::<Vec<_>>());
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_file_on_a_disk_is_the_same_past_the_cache() {
    let folder = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|n| (n ^ (n >> 7)) as u8).collect();
    for policy in [DirectWrites::Always, DirectWrites::Never, DirectWrites::Auto] {
        let path = folder.path().join(format!("{policy:?}"));
        let open = || {
            File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .unwrap()
        };
        let mut file = DirectFile::new(open(), Chooser::new(policy, false));
        let reader = open();
        let mut given = 0;
        for (n, chunk) in bytes.chunks(777_777).enumerate() {
            let reach = match n % 3 {
                2 => Reach::Everything,
                _ => Reach::Blocks,
            };
            file.write(&batch(chunk), reach).unwrap();
            given += chunk.len();
            file.land().unwrap();
            // What others see.
            let mut seen = vec![0; reader.size().unwrap() as usize];
            reader.read_exact_at(&mut seen, 0).unwrap();
            assert!(seen[..] == bytes[..seen.len()]);
            // All but less than the largest block.
            assert!(seen.len() <= given && given < seen.len() + 65_536);
        }
        file.truncate(3_333_333).unwrap();
        file.write(&batch(&bytes[3_333_333..]), Reach::Everything)
            .unwrap();
        file.sync().unwrap();
        assert!(std::fs::read(&path).unwrap() == bytes, "{policy:?}");
        if policy == DirectWrites::Always && file.chooser.way() != Way::Direct {
            eprintln!("NOT TESTED: {} has no direct writes", folder.path().display());
        }
    }
}
