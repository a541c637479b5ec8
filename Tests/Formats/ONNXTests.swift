import Formats
import Foundation
import TestSupport
import Testing

@Suite struct ONNXTests {
    private static func varint(_ value: Int) -> [UInt8] {
        value < 128 ? [UInt8(value)] : [UInt8(value & 127) | 128] + varint(value >> 7)
    }

    private static func field(_ number: Int, _ content: [UInt8]) -> [UInt8] {
        varint(number << 3 | 2) + varint(content.count) + content
    }

    private static func model() -> [UInt8] {
        let values: [Float] = [1, -2.5, 3, 4, 5, 6]
        let raw = values.flatMap { value in withUnsafeBytes(of: value.bitPattern.littleEndian) { Array($0) } }
        let tensor =
            varint(1 << 3) + [2] + varint(1 << 3) + [3] + varint(2 << 3) + [1] + field(8, Array("w".utf8))
            + field(9, raw)
        let node =
            field(1, Array("x".utf8)) + field(1, Array("w".utf8)) + field(3, Array("/layer/MatMul".utf8))
            + field(4, Array("MatMul".utf8))
        return field(7, field(1, node) + field(5, tensor))
    }

    @Test func initialisersAndTheirNodes() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("model.onnx")
        try Foundation.Data(Self.model()).write(to: URL(fileURLWithPath: path))
        let file = try ONNXFile(path: path)
        #expect(file.initialisers["w"]?.shape == [2, 3])
        #expect(try file.floats("w") == [1, -2.5, 3, 4, 5, 6])
        #expect(file.nodes.first?.name == "/layer/MatMul" && file.nodes.first?.inputs == ["x", "w"])
        let error = #expect(throws: FileError.self) { try file.floats("v") }
        #expect(error?.code == .mismatched)
    }

    @Test func badFiles() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("model.onnx")
        let good = Self.model()
        for count in 0..<good.count {
            try Foundation.Data(good.prefix(count)).write(to: URL(fileURLWithPath: path))
            let error = #expect(throws: FileError.self) { try ONNXFile(path: path) }
            #expect(error?.description.contains(path) == true)
        }
    }
}
