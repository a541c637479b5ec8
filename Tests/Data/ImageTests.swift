import Data
import Formats
import Foundation
import TestSupport
import Testing

/// Against TensorFlow and Pillow; scripts/reference/image_reference.py made the expected images.
@Suite struct ImageTests {
    struct Cases: Decodable {
        struct Plain: Decodable { var input: String, expected: String }
        struct Sized: Decodable { var input: String, expected: String, size: Int }
        struct Augment: Decodable {
            var input: String, expected: String
            var cropX: Float, cropY: Float, brightness: Float, contrast: Float, saturation: Float, hue: Float
        }
        var decode: [Plain]
        var resize: [Sized]
        var augment: [Augment]
        var evaluation: [Sized]
    }

    let cases: Cases

    init() throws { cases = try fixture("images/cases.json") }

    private func bytes(_ name: String) throws -> [UInt8] {
        [UInt8](try Foundation.Data(contentsOf: BuildFolder.fixture("data/images/\(name)")))
    }

    private func image(_ name: String) throws -> RGBImage { try RGBImage(decoding: bytes(name)) }

    /// Largest difference and the share of values that differ.
    private func difference(_ a: RGBImage, _ b: RGBImage) -> (largest: Int, share: Double) {
        guard a.width == b.width, a.height == b.height else { return (256, 1) }
        let differences = zip(a.pixels, b.pixels).map { abs(Int($0) - Int($1)) }
        return (differences.max() ?? 0, Double(differences.count { $0 > 0 }) / Double(differences.count))
    }

    @Test func jpegDecodesToTensorFlowsPixels() throws {
        for item in cases.decode { #expect(try image(item.input) == image(item.expected)) }
    }

    @Test func lanczosResizeMatchesTensorFlow() throws {
        for item in cases.resize {
            let resized = LanczosResizer(size: item.size).resized(try image(item.input))
            let found = difference(resized, try image(item.expected))
            // Sums of products in another order: a value near a half may round the other way.
            #expect(found.largest <= 1 && found.share < 1e-3, "\(item.expected): \(found)")
        }
    }

    @Test func augmentationMatchesTensorFlow() throws {
        for item in cases.augment {
            let augmentation = Augmentation(
                cropX: item.cropX, cropY: item.cropY, brightness: item.brightness, contrast: item.contrast,
                saturation: item.saturation, hue: item.hue)
            let found = difference(augmentation.applied(to: try image(item.input)), try image(item.expected))
            #expect(found.largest <= 1 && found.share < 5e-3, "\(item.expected): \(found)")
        }
    }

    @Test func evaluationViewMatchesTensorFlow() throws {
        for item in cases.evaluation {
            let input = try image(item.input)
            let preprocessor = try ObservationPreprocessor(imageSize: item.size, centreCropped: true)
            let pixels = try preprocessor.prepared(input.pixels, height: input.height, width: input.width)
            let found = difference(
                RGBImage(height: item.size, width: item.size, pixels: pixels), try image(item.expected))
            #expect(found.largest <= 1 && found.share < 1e-3, "\(found)")
        }
    }

    @Test func sameSizeResizeIsTheIdentity() throws {
        let frame = try image("frame.png")
        #expect(LanczosResizer(size: 96).resized(frame) == frame)
    }

    @Test func damagedImagesAreErrors() throws {
        let jpeg = try bytes("frame.jpg")
        let png = try bytes("noise.png")
        for damaged in [
            [], [0xff], Array(jpeg.prefix(600)), Array(jpeg.prefix(jpeg.count / 2)), Array(png.prefix(200)),
        ] {
            #expect(dataError { _ = try RGBImage(decoding: damaged) } != nil)
        }
        #expect(dataError { _ = try RGBImage(decoding: [1, 2, 3, 4, 5]) }?.description.contains("1 2 3 4") == true)
    }

    @Test func mutatedImagesNeverCrash() throws {
        var generator = TestGenerator(state: 5)
        for original in [try bytes("frame.jpg"), try bytes("png-rgba.png")] {
            for _ in 0..<300 {
                var mutated = original
                for _ in 0..<Int.random(in: 1...4, using: &generator) {
                    mutated[Int.random(in: 2..<min(mutated.count, 700), using: &generator)] = UInt8(
                        truncatingIfNeeded: generator.next())
                }
                _ = try? RGBImage(decoding: mutated)
            }
        }
    }

    @Test func preprocessorRefusesWrongSizes() {
        let error = dataError {
            _ = try ObservationPreprocessor(imageSize: 32, centreCropped: false).prepared(
                [1, 2, 3], height: 2, width: 2)
        }
        #expect(error?.description.contains("got 3 bytes for a 2x2 image") == true)
        #expect(dataError { _ = try ObservationPreprocessor(imageSize: 0, centreCropped: false) } != nil)
    }
}
