internal import Formats
import Synchronization
internal import VideoCodecs

/// Room for a message of the codecs that are opened on demand.
struct VideoMessage: ~Copyable {
    let storage = UnsafeMutablePointer<CChar>.allocate(capacity: Int(VC_MESSAGE_SIZE))

    init() { storage.initialize(repeating: 0, count: Int(VC_MESSAGE_SIZE)) }

    var sentence: String { String(cString: storage) }

    deinit { storage.deallocate() }
}

/// Frames of videos by their time. Keeps decoders open: opening reads a video's whole table of frames.
package final class VideoFrames: Sendable {
    /// Why no video can be decoded on this machine; nil when they can.
    package static var refusal: String? {
        let text = VideoMessage()
        return vc_available(text.storage) == 0 ? nil : text.sentence
    }

    /// An open video, which one thread at a time has.
    private final class Decoder: @unchecked Sendable {
        let path: String
        let video: OpaquePointer

        init(path: String) throws(DataError) {
            // For the sentence when there is no such file.
            _ = try reading { () throws(FileError) in try RandomAccessFile(path: path) }
            self.path = path
            var video: OpaquePointer?
            let text = VideoMessage()
            guard vc_open(path, &video, text.storage) == 0, let video else {
                throw DataError(.malformed, "\(path): \(text.sentence).")
            }
            self.video = video
        }

        deinit { vc_close(video) }

        func image(at seconds: Double, tolerance: Double) throws(DataError) -> RGBImage {
            let text = VideoMessage()
            var (found, width, height) = (0.0, Int32(0), Int32(0))
            guard abs(seconds) < 1e9 else {
                throw DataError(.malformed, "\(path): \(seconds) s is not a time in a video.")
            }
            guard vc_seek(video, seconds, &found, &width, &height, text.storage) == 0 else {
                throw DataError(.malformed, "\(path): at \(seconds) s: \(text.sentence).")
            }
            guard abs(found - seconds) <= tolerance else {
                throw DataError(
                    .mismatched,
                    "\(path): has no frame at \(seconds) s; the nearest is at \(found) s. The video is cut short, or is of another "
                        + "episode or frame rate; download or record it again.")
            }
            guard (1...Int32(RGBImage.maximumSide)).contains(width), (1...Int32(RGBImage.maximumSide)).contains(height)
            else {
                throw DataError(
                    .unsupported,
                    "\(path): the frames are \(width)x\(height); sides from 1 to \(RGBImage.maximumSide) are supported."
                )
            }
            let count = Int(width) * Int(height) * 3
            var failed = false
            let pixels = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialised in
                failed = vc_rgb(video, buffer.baseAddress, text.storage) != 0
                initialised = failed ? 0 : count
            }
            guard !failed else { throw DataError(.malformed, "\(path): at \(seconds) s: \(text.sentence).") }
            return RGBImage(height: Int(height), width: Int(width), pixels: pixels)
        }
    }

    /// Decoders that nobody uses, the last used at the end.
    private let idle = Mutex<[Decoder]>([])
    private let capacity: Int

    /// - Parameter capacity: decoders that are kept open. Each takes a file and some frames' memory.
    package init(capacity: Int = 32) { self.capacity = capacity }

    /// The frame nearest to a time.
    ///
    /// - Parameter tolerance: seconds that it may be away.
    package func image(_ path: String, at seconds: Double, tolerance: Double) throws(DataError) -> RGBImage {
        let known = takeIdle(path)
        let decoder = if let known { known } else { try Decoder(path: path) }
        // A decoder that failed is not used again.
        let image = try decoder.image(at: seconds, tolerance: tolerance)
        idle.withLock { idle in
            idle.append(decoder)
            if idle.count > capacity { idle.removeFirst() }
        }
        return image
    }

    private func takeIdle(_ path: String) -> Decoder? {
        idle.withLock { idle in
            guard let place = idle.lastIndex(where: { $0.path == path }) else { return nil }
            return idle.remove(at: place)
        }
    }
}
