internal import Formats
internal import ImageCodecs

/// The bytes of a JPEG or PNG file whose header was read: cheap, so that what cannot be decoded is known before training.
struct EncodedImage {
    enum Format: String {
        case jpeg = "JPEG"
        case png = "PNG"
    }

    let format: Format
    /// Valid as long as what it was made from.
    let bytes: UnsafeRawBufferPointer
    let header: ic_header

    var width: Int { Int(header.width) }
    var height: Int { Int(header.height) }

    /// - Throws: a sentence without a subject, or about "the image", for other formats and damaged headers.
    init(_ bytes: UnsafeRawBufferPointer) throws(DataError) {
        self.bytes = bytes
        if bytes.starts(with: [0xff, 0xd8]) {
            format = .jpeg
        } else if bytes.starts(with: [0x89, 0x50, 0x4e, 0x47]) {
            format = .png
        } else {
            throw Self.unknown(bytes)
        }
        var header = ic_header()
        let text = CodecMessage()
        let start = bytes.bindMemory(to: UInt8.self).baseAddress
        let status =
            format == .jpeg
            ? ic_jpeg_header(start, bytes.count, &header, text.storage)
            : ic_png_header(start, bytes.count, &header, text.storage)
        guard status == 0 else {
            throw DataError(.malformed, "the \(format.rawValue) cannot be decoded: \(text.sentence).")
        }
        guard format == .png || header.channels != 4 else {
            throw DataError(
                .unsupported,
                "is a CMYK JPEG; expected RGB or grey values. Convert it (Pillow: image.convert('RGB')) and write the data "
                    + "again.")
        }
        guard format == .png || [1, 3].contains(header.channels) else {
            throw DataError(.unsupported, "the JPEG has \(header.channels) channels; expected grey values or RGB.")
        }
        self.header = header
    }

    /// First bytes of formats that are met in data sets and not read.
    private static let others: [(name: String, offset: Int, bytes: [UInt8])] = [
        ("a GIF", 0, Array("GIF8".utf8)), ("a BMP", 0, Array("BM".utf8)), ("a WebP", 8, Array("WEBP".utf8)),
        ("a TIFF", 0, [0x49, 0x49, 0x2a, 0]), ("a TIFF", 0, [0x4d, 0x4d, 0, 0x2a]),
        ("a HEIF or AVIF", 4, Array("ftyp".utf8)), ("a JPEG 2000", 4, Array("jP  ".utf8)),
        ("a JPEG XL", 0, [0xff, 0x0a]), ("a NumPy", 0, [0x93] + Array("NUMPY".utf8)),
    ]

    private static func unknown(_ bytes: UnsafeRawBufferPointer) -> DataError {
        for other in others where bytes.dropFirst(other.offset).starts(with: other.bytes) {
            return DataError(
                .unsupported,
                "is \(other.name) file, which craft does not read; expected a JPEG or a PNG. Convert it and write the data "
                    + "again.")
        }
        let start = bytes.prefix(4).map { String($0, radix: 16) }.joined(separator: " ")
        return DataError(
            .unsupported, "is neither a JPEG nor a PNG image (\(bytes.count) bytes, starting with: \(start)).")
    }
}

/// Room for a codec's message.
struct CodecMessage: ~Copyable {
    let storage = UnsafeMutablePointer<CChar>.allocate(capacity: Int(IC_MESSAGE_SIZE))

    init() { storage.initialize(repeating: 0, count: Int(IC_MESSAGE_SIZE)) }

    /// Without a final full stop.
    var sentence: String {
        let text = String(cString: storage)
        return text.hasSuffix(".") ? String(text.dropLast()) : text
    }

    deinit { storage.deallocate() }
}
