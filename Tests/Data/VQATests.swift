import Data
import Formats
import Foundation
import TestSupport
import Testing

@Suite struct VQATests {
    @Test func readsTheHeldOutSet() throws {
        let dataset = try VQADataset(path: Sample.questions, split: "test")
        #expect(dataset.imageCount == 300)
        #expect(dataset.questions.count == 2948)
        #expect(dataset.answers.count == 13 && dataset.answers.first == "circle" && dataset.answers.last == "no")
        let first = dataset.questions[0]
        #expect(first.text == "what is the red shape?" && first.answer == "triangle" && first.image == 0)
    }

    @Test func batchesAreFixedAndSpaced() throws {
        let dataset = try VQADataset(path: Sample.questions)
        let batches = try dataset.batches(batchSize: 4, imageSize: 32, maximumQuestions: 10)
        #expect(batches.count == 3 && batches.questions == 10)
        let all = try (0..<3).map { try batches.batch($0) }
        #expect(all.map(\.count) == [4, 4, 2])
        #expect(all.allSatisfy { $0.images.count == $0.count * 32 * 32 * 3 && $0.imageSize == 32 })
        #expect(all[0].questions[0] == "what is the red shape?")
        #expect(all[2].questions[1] == dataset.questions[9 * 2948 / 10].text)
        let large = try dataset.batches(batchSize: 1000, imageSize: 8)
        #expect(try (0..<large.count).map { try large.batch($0).count } == [1000, 1000, 948])
    }

    @Test func imagesAreTheStoredPixels() throws {
        let dataset = try VQADataset(path: Sample.questions)
        let file = try Foundation.Data(contentsOf: URL(fileURLWithPath: "\(Sample.questions)/test/images/0.png"))
        let batch = try dataset.batches(batchSize: 1, imageSize: 64, maximumQuestions: 1).batch(0)
        #expect(batch.images == (try RGBImage(decoding: [UInt8](file)).pixels))
    }

    @Test func samplerResumesExactly() throws {
        let dataset = try VQADataset(path: Sample.questions)
        let straight = try VQASampler(dataset, batchSize: 5, imageSize: 16, seed: 2)
        let first = try straight.next()
        #expect(first.count == 5 && first.images.count == 5 * 16 * 16 * 3 && Set(first.questions).count > 1)
        let resumed = try VQASampler(dataset, batchSize: 5, imageSize: 16, seed: 7)
        resumed.cursor = straight.cursor
        let (a, b) = (try straight.next(), try resumed.next())
        #expect(a.images == b.images && a.questions == b.questions && a.answers == b.answers)
        #expect(a.questions != first.questions)
    }

    @Test func damageIsNamed() throws {
        let folder = try TemporaryFolder()
        let images = folder.url.appendingPathComponent("test/images")
        try FileManager.default.createDirectory(at: images, withIntermediateDirectories: true)
        func write(_ text: String, _ name: String) throws {
            try text.write(to: folder.url.appendingPathComponent(name), atomically: true, encoding: .utf8)
        }
        func message() -> String {
            dataError { _ = try VQADataset(path: folder.url.path).batches(batchSize: 1, imageSize: 8).check() }?
                .description
                ?? "no error"
        }
        #expect(message().contains("answers.txt: could not open the file"))
        try write("\n", "answers.txt")
        #expect(message().contains("holds no answers"))
        try write("yes\r\nno\n", "answers.txt")
        #expect(message().contains("questions.json: could not open the file"))
        try write(#"[["q", "maybe", 0]]"#, "test/questions.json")
        #expect(message().contains("the answer 'maybe' of question 0 is not in answers.txt"))
        try write(#"[["q", "yes"]]"#, "test/questions.json")
        #expect(message().contains("expected a list of [question, answer, image id]"))
        try write(#"[["q", "yes", 7]]"#, "test/questions.json")
        #expect(message().contains("images/7.png: could not open the file"))
        try write("not an image", "test/images/7.png")
        #expect(message().contains("images/7.png: is neither a JPEG nor a PNG"))
    }
}
