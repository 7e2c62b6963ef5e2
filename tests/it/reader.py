#!/usr/bin/env python3
"""Reads a cube by docs/format.md alone, to show that the page suffices.

    reader.py CUBE                 what the cube holds, and its samples, as JSON
    reader.py CUBE x0:x1,y0:y1,... the samples of a region (from 0, end excluded)
    reader.py CUBE EXPECTED.json   compares with what a golden cube should hold

It knows nothing of the program, is as slow as it is plain, and needs only the
standard library. It also checks every frame against its checksum.
"""

import itertools
import json
import struct
import sys
import zlib

TABLE = []
for byte in range(256):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    TABLE.append(byte)


def crc(data):
    value = 0xFFFFFFFF
    for byte in data:
        value = TABLE[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF


def need(holds, what):
    if not holds:
        sys.exit("damaged: " + what)


class Cube:
    def __init__(self, data):
        self.data = data
        good = []
        for at in (0, 4096):
            block = data[at : at + 4096]
            if len(block) < 4096 or block[:8] != b"\x89CUB\r\n\x1a\n":
                continue
            if struct.unpack_from("<I", block, 4092)[0] != crc(block[:4092]):
                continue
            need(struct.unpack_from("<I", block, 8)[0] in (1, 2), "a newer format")
            sequence, _, start, length, check = struct.unpack_from("<4QI", block, 32)
            (committed,) = struct.unpack_from("<Q", block, 72)
            if start >= 8192 and start + length <= committed <= 1 << 62:
                good.append((sequence, committed, dict(at=start, bytes=length, check=check)))
        need(good, "no superblock")
        _, self.committed, where = max(good, key=lambda found: found[0])
        need(len(data) >= self.committed, "cut short")
        text = self.extent(where)
        need(text[:16] == b"\nCUBE CATALOG 1\n", "no catalog")
        self.catalog = catalog = json.loads(text[16:])
        need(catalog["cube"] in (1, 2), "format")
        self.size = int(catalog["dtype"].lstrip("uintfloa")) // 8
        self.pad, self.mask = int(catalog["pad"], 16), int(catalog["mask"], 16)
        need(self.mask in (0, self.pad), "mask")
        self.slots = [self.axis(axis) for axis in catalog["axes"]]
        self.rank = len(self.slots)
        self.slots += [[0]] * (8 - self.rank)
        self.shape = [len(axis) for axis in self.slots]
        self.patches = {}
        for one in catalog["patches"]:
            self.read_patches(self.extent(one), one["samples"])
        self.records = [record for block in catalog["ledger"] for record in self.block(block)]
        need(len(self.records) == catalog["next_frame"], "frames")

    def axis(self, axis):
        """Slots of the positions of an axis, in order."""
        pieces = axis["pieces"]
        if "table" in axis:
            numbers = struct.iter_unpack("<2Q", self.extent(axis["table"]))
            pieces = list(numbers)
            need(len(pieces) == axis["table"]["pieces"], "pieces")
        slots = [s + k for s, n in pieces for k in range(n)]
        for position, removed, slot, length in axis.get("splices", []):
            slots[position : position + removed] = range(slot, slot + length)
        need(len(set(slots)) == len(slots) and all(s < axis["slots"] for s in slots), "slots")
        return slots

    def extent(self, where):
        end = where["at"] + where["bytes"]
        need(8192 <= where["at"] and end <= self.committed, "an extent outside the file")
        data = self.data[where["at"] : end]
        need(crc(data) == where["check"], "check at byte %d" % where["at"])
        return data

    def read_patches(self, data, samples):
        size, tiles, patches = struct.unpack_from("<3Q", data, 8)
        need(data[:8] == b"\nPATCHES" and size == self.size and patches == samples, "patch set")
        elements = 32 + 24 * tiles
        values = elements + 4 * patches
        need(len(data) == values + size * patches, "length of a patch set")
        directory = [struct.unpack_from("<2Q2I", data, 32 + 24 * tile) for tile in range(tiles)]
        ends = [entry[1] for entry in directory[1:]] + [patches]
        for number, ((tile, before, check, own), end) in enumerate(zip(directory, ends)):
            start = 32 + 24 * number
            need(own == crc(struct.pack("<Q", number) + data[start : start + 20]), "patch entry")
            both = data[elements + 4 * before : elements + 4 * end]
            both += data[values + size * before : values + size * end]
            need(check == crc(both), "patches of a tile")
            for patch in range(before, end):
                (element,) = struct.unpack_from("<I", data, elements + 4 * patch)
                value = data[values + size * patch : values + size * (patch + 1)]
                self.patches[tile, element] = int.from_bytes(value, "little")

    def block(self, block):
        data, records = self.extent(block), []
        at = 160 * block["groups"]
        for number in range(block["groups"]):
            entry = data[160 * number : 160 * (number + 1)]
            frames, unpacked, packed = struct.unpack_from("<3Q", entry)
            check, own = struct.unpack_from("<2I", entry, 152)
            need(own == crc(struct.pack("<Q", number) + entry[:156]), "group entry")
            stream = data[at : at + packed]
            at += packed
            need(check == crc(stream), "group")
            lines = zlib.decompress(stream)
            need(len(lines) == unpacked and lines.count(b"\n") == frames, "length of a group")
            group = [json.loads(line) for line in lines.splitlines()]
            for (lo, hi), axis in zip(struct.iter_unpack("<2Q", entry[24:152]), range(8)):
                runs = [run for record in group for run in record["slots"][axis]]
                need(lo == min(slot for slot, _ in runs), "least slot")
                need(hi == max(slot + length for slot, length in runs), "greatest slot")
            records += group
        need(at == len(data), "length of a ledger block")
        numbers = [record["frame"] for record in records]
        need(numbers == list(range(block["first"], block["first"] + block["frames"])), "frames")
        return records

    def tile(self, coordinates):
        """Offset of a tile and its mask, None when it is void."""
        for table in self.catalog["index"]:
            ranges = list(zip(table["lo"], table["hi"], coordinates))
            if all(lo <= c < hi for lo, hi, c in ranges):
                break
        else:
            return None
        number, pitch = 0, 1
        for lo, hi, c in ranges:
            number += (c - lo) * pitch
            pitch *= hi - lo
        entry = self.data[table["at"] + 16 * number :][:16]
        if entry == bytes(16):
            return None
        at, check = struct.unpack_from("<QI", entry)
        at &= ~0xFF
        for plain in (0, 1):
            if at and check == crc(struct.pack("<9Q", *coordinates, at + plain)):
                return at, 0 if plain else self.mask
        need(entry[0] == 0 or entry[15] == 0, "index entry of tile %s" % coordinates)
        return None

    def sample(self, slots, patched=True):
        """Bits of the sample in these 8 slots."""
        lens = self.catalog["tile"]
        found = self.tile([slot // length for slot, length in zip(slots, lens)])
        if found is None:
            return self.pad
        at, mask = found
        element, width = 0, 1
        for slot, length in zip(slots, lens):
            element += slot % length * width
            width *= length
        if patched and (at, element) in self.patches:
            return self.patches[at, element]
        stored = self.data[at + element * self.size :][: self.size]
        return int.from_bytes(stored, "little") ^ mask

    def box(self, slots, patched=True):
        """Samples of a product of lists of slots, x fastest."""
        for reverse in itertools.product(*reversed(slots)):
            yield self.sample(reverse[::-1], patched)

    def check_frames(self):
        for record in self.records:
            slots = [[s + k for s, n in axis for k in range(n)] for axis in record["slots"]]
            data = [value.to_bytes(self.size, "little") for value in self.box(slots, False)]
            need(crc(b"".join(data)) == record["check"], "check of frame %d" % record["frame"])
            need(len(record["cards"].encode("latin-1")) % 80 == 0, "cards")

    def rows(self, region):
        """Rows of samples in hexadecimal, one text per row along x."""
        slots = [axis[start:end] for axis, (start, end) in zip(self.slots, region)]
        words = ["%0*x" % (2 * self.size, value) for value in self.box(slots)]
        width = max(1, len(slots[0]))
        return [" ".join(words[at : at + width]) for at in range(0, len(words), width)]


def main():
    with open(sys.argv[1], "rb") as file:
        cube = Cube(file.read())
    cube.check_frames()
    region = [(0, length) for length in cube.shape]
    argument = sys.argv[2] if len(sys.argv) > 2 else ""
    if argument and not argument.endswith(".json"):
        given = [tuple(map(int, part.split(":"))) for part in argument.split(",")]
        region[: len(given)] = given
    found = dict(dtype=cube.catalog["dtype"], shape=cube.shape[: cube.rank])
    found.update(records=len(cube.records), rows=cube.rows(region))
    if not argument.endswith(".json"):
        print(json.dumps(found, indent=2))
        return
    with open(argument) as file:
        expected = json.load(file)
    for key, value in expected.items():
        if found[key] != value:
            sys.exit("%s: found %s, expected %s" % (key, found[key], value))


main()
