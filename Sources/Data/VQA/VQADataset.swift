internal import Formats
import Foundation

/// Questions about images, each with one short answer, in easy-VQA's folder layout.
///
///     answers.txt                       one answer a line
///     <split>/questions.json            [[question, answer, image id], ...]
///     <split>/images/<image id>.png
///
/// Images are read at once and kept encoded (a few hundred bytes each); they are decoded when asked for.
package final class VQADataset: Sendable {
    package struct Question: Equatable, Sendable {
        package let text: String
        package let answer: String
        /// An index into the data set's images, 0 ..< imageCount.
        package let image: Int
    }

    /// The folder that was opened.
    package let path: String
    /// Its subfolder that the questions are from.
    package var splitPath: String { "\(path)/\(split)" }
    private let split: String
    /// In stored order.
    package let questions: [Question]
    /// Every possible answer, in the order of `answers.txt`.
    package let answers: [String]
    /// Only images that some question is about.
    package var imageCount: Int { images.count }

    private let images: [(path: String, encoded: [UInt8])]

    /// - Parameter split: the subfolder, `train` or `test`.
    package init(path: String, split: String = "test") throws(DataError) {
        self.path = path
        self.split = split
        let list = "\(path)/answers.txt"
        let text = try reading { () throws(FileError) in try RandomAccessFile.contents(of: list) }
        answers = String(decoding: text, as: UTF8.self)
            .split(whereSeparator: \.isNewline).map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
        guard !answers.isEmpty else { throw DataError(.empty, "\(list): holds no answers; expected one a line.") }

        let file = "\(path)/\(split)/questions.json"
        let rows = try reading { () throws(FileError) in
            try decodeJSON([Row].self, contentsOf: file, or: "expected a list of [question, answer, image id]")
        }
        guard !rows.isEmpty else { throw DataError(.empty, "\(file): holds no questions.") }

        let known = Set(answers)
        var position: [Int: Int] = [:]
        var images: [(path: String, encoded: [UInt8])] = []
        var questions: [Question] = []
        for (index, row) in rows.enumerated() {
            guard known.contains(row.answer) else {
                throw DataError(
                    .missing,
                    "\(file): the answer '\(row.answer)' of question \(index) is not in answers.txt. Add it there.")
            }
            if position[row.image] == nil {
                let image = "\(path)/\(split)/images/\(row.image).png"
                position[row.image] = images.count
                let bytes = try reading { () throws(FileError) in try RandomAccessFile.contents(of: image) }
                images.append((image, bytes))
            }
            questions.append(Question(text: row.question, answer: row.answer, image: position[row.image]!))
        }
        self.images = images
        self.questions = questions
    }

    private struct Row: Decodable {
        var question: String
        var answer: String
        var image: Int

        init(from decoder: any Decoder) throws {
            var container = try decoder.unkeyedContainer()
            question = try container.decode(String.self)
            answer = try container.decode(String.self)
            image = try container.decode(Int.self)
        }
    }

    /// Decodes and resizes an image.
    ///
    /// - Parameter index: in 0 ..< imageCount.
    func image(_ index: Int, resizer: LanczosResizer) throws(DataError) -> RGBImage {
        do throws(DataError) {
            return resizer.resized(try RGBImage(decoding: images[index].encoded))
        } catch {
            throw DataError(error.code, "\(images[index].path): \(error)")
        }
    }

    /// Evenly spaced questions, at most `maximumQuestions` (nil: all), in stored order, in batches of `batchSize` (the
    /// last may be smaller); always the same ones.
    package func batches(batchSize: Int, imageSize: Int, maximumQuestions: Int? = nil) throws(DataError) -> VQABatches {
        try VQABatch.check(batchSize: batchSize, imageSize: imageSize)
        return VQABatches(
            self, questions: min(max(maximumQuestions ?? questions.count, 0), questions.count), batchSize: batchSize,
            resizer: LanczosResizer(size: imageSize))
    }
}

/// A fixed list of batches, each decoded when it is asked for.
package struct VQABatches: Sendable {
    package let dataset: VQADataset
    /// Questions in all batches together.
    package let questions: Int
    private let batchSize: Int
    private let resizer: LanczosResizer

    init(_ dataset: VQADataset, questions: Int, batchSize: Int, resizer: LanczosResizer) {
        (self.dataset, self.questions, self.batchSize, self.resizer) = (dataset, questions, batchSize, resizer)
    }

    package var count: Int { (questions + batchSize - 1) / batchSize }

    /// - Parameter index: in 0 ..< count.
    package func batch(_ index: Int) throws(DataError) -> VQABatch {
        let places = index * batchSize..<min((index + 1) * batchSize, questions)
        return try VQABatch(
            dataset, questions: places.map { $0 * dataset.questions.count / questions }, resizer: resizer)
    }

    /// Decodes everything once, so that a damaged image is found before it is needed.
    package func check() throws(DataError) {
        for index in 0..<count { _ = try batch(index) }
    }
}
