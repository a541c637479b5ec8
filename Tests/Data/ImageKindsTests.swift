import Data
import Formats
import Foundation
import TestSupport
import Testing

/// Files of every kind against what TensorFlow decodes from the same bytes; scripts/reference/image_kinds.py made both.
@Suite struct ImageKindsTests {
    struct Case: Decodable {
        var name: String
        var bytes: Foundation.Data
        var height: Int?
        var width: Int?
        /// Nil where TensorFlow refuses the bytes.
        var pixels: Foundation.Data?
    }

    @Test func everyKindIsWhatTensorFlowDecodes() throws {
        let cases: [Case] = try fixture("image-kinds.json")
        #expect(cases.count > 100)
        for item in cases {
            guard let pixels = item.pixels else {
                #expect(dataError { _ = try RGBImage(decoding: [UInt8](item.bytes)) } != nil, "\(item.name)")
                continue
            }
            let image = try RGBImage(decoding: [UInt8](item.bytes))
            #expect(image.height == item.height && image.width == item.width, "\(item.name)")
            #expect(image.pixels == [UInt8](pixels), "\(item.name)")
        }
    }

    @Test(arguments: [
        ("GIF89a", "a GIF"), ("BM12345678", "a BMP"), ("RIFF1234WEBPVP8 ", "a WebP"), ("II*\0abcd", "a TIFF"),
        ("\0\0\0\u{20}ftypavif", "a HEIF or AVIF"),
    ])
    func otherFormatsAreNamed(_ start: String, _ name: String) {
        let message = dataError { _ = try RGBImage(decoding: Array(start.utf8)) }?.description
        #expect(message?.contains("is \(name) file") == true, "\(message ?? "")")
    }
}
