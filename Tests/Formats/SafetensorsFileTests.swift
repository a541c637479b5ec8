import Formats
import Foundation
import TestSupport
import Testing

@Suite("safetensors: reading and writing")
struct SafetensorsFileTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    @Test("every stored type reads back, with names, shapes and metadata")
    func roundTrip() throws {
        let path = folder.path("all.safetensors")
        let exact: [Float] = [0, -0.0, 1, -2.5, 0.15625, 1024]  // exact in every float format
        try SafetensorsWriter.write(
            [
                .init("halves", shape: [6], floats: exact, as: .f16),
                .init("brains", shape: [2, 3], floats: exact, as: .bf16),
                .init("naïve \"quoted\" \\ \n ключ", shape: [3, 2], floats: exact),
                .init("ids", shape: [2], integers: [.min, .max]),
                .init("blob", shape: [3], bytes: [0, 127, 255]),
                .init("scalar", shape: [], floats: [7]),
                .init("nothing", shape: [0, 4], floats: []),
            ], metadata: ["format": "pt", "tab\t": "ünïcode 🦾"], to: path)

        let file = try SafetensorsFile(path: path)
        #expect(file.metadata == ["format": "pt", "tab\t": "ünïcode 🦾"])
        #expect(file.names.count == 7)
        #expect(try file.floats("halves") == exact)
        #expect(try file.floats("brains") == exact)
        #expect(try file.floats("naïve \"quoted\" \\ \n ключ") == exact)
        #expect(try file.floats("scalar") == [7])
        #expect(try file.floats("nothing") == [])
        #expect(try file.integers("ids") == [.min, .max])
        #expect(try file.integers("blob") == [0, 127, 255])
        #expect(file.entry("brains")?.shape == [2, 3])
        #expect(file.entry("brains")?.dtype == .bf16)
        #expect(file.entry("absent") == nil)
    }

    @Test("data begin at a multiple of 64 bytes and each tensor is aligned to its element")
    func alignment() throws {
        let path = folder.path("aligned.safetensors")
        try SafetensorsWriter.write(
            [
                .init("a", shape: [3], bytes: [1, 2, 3]), .init("b", shape: [1], floats: [1.5], as: .bf16),
                .init("c", shape: [1], floats: [2.5]), .init("d", shape: [1], integers: [9]),
            ], to: path)
        let file = try SafetensorsFile(path: path)
        #expect(file.names == ["d", "c", "b", "a"])
        for name in file.names {
            let entry = try file.requiredEntry(name)
            #expect(entry.byteRange.lowerBound % (try #require(entry.dtype.size)) == 0)
        }
        #expect(try file.requiredEntry("d").byteRange.lowerBound % 64 == 0)
        #expect(try #require(file.mappedFloats("c")).pointee == 2.5)
        #expect(file.mappedFloats("b") == nil)
        #expect(file.mappedFloats("absent") == nil)
    }

    @Test("the same content gives the same bytes, and a rewrite leaves an open file readable")
    func deterministicAndReplaceable() throws {
        let tensors: [SafetensorsWriter.Tensor] = [.init("w", shape: [2], floats: [1, 2])]
        let metadata = Dictionary(uniqueKeysWithValues: (0..<20).map { ("key\($0)", "\($0)") })
        let (first, second) = (folder.path("1"), folder.path("2"))
        try SafetensorsWriter.write(tensors, metadata: metadata, to: first)
        try SafetensorsWriter.write(tensors, metadata: metadata, to: second)
        #expect(try Data(contentsOf: URL(fileURLWithPath: first)) == Data(contentsOf: URL(fileURLWithPath: second)))

        let old = try SafetensorsFile(path: first)
        try SafetensorsWriter.write([.init("w", shape: [2], floats: [3, 4])], to: first)
        #expect(try old.floats("w") == [1, 2])
        #expect(try SafetensorsFile(path: first).floats("w") == [3, 4])
    }

    @Test("a pointer source, larger than the conversion buffer, is stored whole", arguments: [0, 1, 32_768, 70_001])
    func pointerSource(count: Int) throws {
        let values = (0..<count).map { Float($0 % 251) - 100 }
        let path = folder.path("pointer.safetensors")
        try values.withUnsafeBufferPointer { buffer in
            let base = try #require(buffer.baseAddress ?? UnsafePointer(bitPattern: 64))
            try SafetensorsWriter.write(
                [
                    .init("f32", shape: [count], pointer: base),
                    .init("bf16", shape: [count], pointer: base, as: .bf16),
                ], to: path)
        }
        let file = try SafetensorsFile(path: path)
        #expect(try file.floats("f32") == values)
        #expect(try file.floats("bf16") == values)  // integers below 256 are exact in bfloat16
    }

    @Test("copyFloats compares shape and count before it writes anything")
    func copyChecks() throws {
        let path = folder.path("w.safetensors")
        try SafetensorsWriter.write([.init("blk.q", shape: [2, 3], floats: [1, 2, 3, 4, 5, 6])], to: path)
        let file = try SafetensorsFile(path: path)
        var target = [Float](repeating: -1, count: 6)
        try file.copyFloats("blk.q", shape: [2, 3], into: &target, count: 6)
        #expect(target == [1, 2, 3, 4, 5, 6])

        let shape = #expect(throws: FileError.self) {
            try file.copyFloats("blk.q", shape: [3, 2], into: &target, count: 6)
        }
        #expect(shape?.description == "\(path): tensor 'blk.q': expected shape [3, 2], found [2, 3]")
        let count = #expect(throws: FileError.self) { try file.copyFloats("blk.q", into: &target, count: 5) }
        #expect(count?.description == "\(path): tensor 'blk.q': expected 5 elements, found 6 (shape [2, 3])")
        let missing = #expect(throws: FileError.self) { try file.floats("model.blk.q") }
        #expect(missing?.description.contains("has no tensor 'model.blk.q'") == true)
        #expect(missing?.description.contains("for example 'blk.q'") == true)
        let kind = #expect(throws: FileError.self) { try file.integers("blk.q") }
        #expect(kind?.description.contains("found F32") == true)
    }

    @Test("the writer refuses what a reader would refuse")
    func writerChecks() throws {
        let path = folder.path("bad.safetensors")
        #expect(throws: FileError.self) { try SafetensorsWriter.write([.init("x", shape: [3], floats: [1])], to: path) }
        #expect(throws: FileError.self) {
            try SafetensorsWriter.write(
                [.init("x", shape: [1], floats: [1]), .init("x", shape: [1], integers: [1])], to: path)
        }
        #expect(throws: FileError.self) {
            try SafetensorsWriter.write([.init("__metadata__", shape: [1], floats: [1])], to: path)
        }
        #expect(throws: FileError.self) {
            try SafetensorsWriter.write([.init("x", shape: [.max, .max], floats: [1])], to: path)
        }
        #expect(throws: FileError.self) { try SafetensorsWriter.write([.init("x", shape: [-1], floats: [])], to: path) }
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.url.path).isEmpty)
        let absent = #expect(throws: FileError.self) {
            try SafetensorsWriter.write([], to: self.folder.path("no/such/folder.safetensors"))
        }
        #expect(absent?.description.contains("there is no such file or folder") == true)
    }

    @Test("what is not finite, or has no number in 16 bits, is not written")
    func nonFinite() throws {
        let path = folder.path("values.safetensors")
        for (value, storage, says) in [
            (Float.nan, SafetensorsWriter.Tensor.FloatStorage.f32, "nan where a number is expected"),
            (.infinity, .bf16, "inf where a number is expected"), (-.infinity, .f16, "-inf where"),
            (65_536, .f16, "which F16 has no number for"),
        ] {
            var values = [Float](repeating: 1, count: 70_000)
            values[69_000] = value
            let error = #expect(throws: FileError.self) {
                try SafetensorsWriter.write([.init("weight", shape: [70_000], floats: values, as: storage)], to: path)
            }
            #expect(
                error?.description.contains("tensor 'weight' holds") == true
                    && error?.description.contains(says) == true)
            #expect(!FileManager.default.fileExists(atPath: path))
        }
        try SafetensorsWriter.write([.init("w", shape: [1], floats: [65_504], as: .f16)], to: path)
        #expect(try SafetensorsFile(path: path).floats("w") == [65_504])
    }

    /// F8_E8M0, F4 and C64 came later than others; what a reader does not compute with it can carry along.
    @Test("types of other tensors are no reason to refuse a file")
    func otherTypes() throws {
        let path = folder.path("types.safetensors")
        func write(_ header: String, _ data: [UInt8]) throws {
            let json = Array(header.utf8)
            try Data(withUnsafeBytes(of: UInt64(json.count).littleEndian) { Array($0) } + json + data).write(
                to: URL(fileURLWithPath: path))
        }
        try write(
            #"{"__metadata__":null,"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]},"#
                + #""b":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}}"#, [0x21, 0, 0, 0x80, 0x3f])
        let file = try SafetensorsFile(path: path)
        #expect(file.metadata.isEmpty && file.entry("a")?.dtype == .other("F4"))
        #expect(try file.floats("b") == [1])
        let error = #expect(throws: FileError.self) { try file.floats("a") }
        #expect(error?.description.contains("found F4") == true)
        let copy = path + ".copy"
        let tensors = try file.names.map { SafetensorsWriter.Tensor($0, copying: try file.requiredEntry($0), of: file) }
        try SafetensorsWriter.write(tensors, to: copy)
        let again = try SafetensorsFile(path: copy)
        #expect(try again.withBytes(again.requiredEntry("a")) { Array($0) } == [0x21])
        #expect(try again.floats("b") == [1])
    }
}
