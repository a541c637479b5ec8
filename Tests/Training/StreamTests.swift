import Data
import Formats
import Foundation
import Models
import PluginRuntime
import Tensors
import TestSupport
import Testing
import Training

/// Batches of further data: when they run, what they change, that their gradients are right, and what is refused.
@Suite struct StreamTests {
    /// Random questions with answers of one to three tokens, a fixed sequence for a seed.
    private final class RandomQuestions: BatchSource {
        private let config: ModelConfig
        private let batchSize: Int
        private(set) var index = 0

        init(_ config: ModelConfig, batchSize: Int) { (self.config, self.batchSize) = (config, batchSize) }

        func next() throws -> TrainingBatch {
            var (pixels, prompts, answers): ([UInt8], [[Int32]], [[Int32]]) = ([], [], [])
            for _ in 0..<batchSize {
                var generator = RandomGenerator(seed: 9, stream: UInt64(index))
                index += 1
                func tokens(_ count: Int) -> [Int32] {
                    (0..<count).map { _ in Int32(generator.next() % UInt64(config.decoder.vocabularySize)) }
                }
                pixels += (0..<config.imageSize * config.imageSize * 3).map { _ in
                    UInt8(truncatingIfNeeded: generator.next())
                }
                prompts.append(tokens(2 + Int(generator.next() % 3)))
                answers.append(tokens(1 + Int(generator.next() % 3)))
            }
            return TrainingBatch(
                input: ModelInput(
                    images: .rgb(pixels), cameras: 1, prompts: zip(prompts, answers).map { $0 + $1.dropLast() },
                    answerLengths: answers.map(\.count)),
                answerIDs: answers.flatMap { $0.map(Int64.init) })
        }

        var cursor: DataCursor { DataCursor(seed: 0, position: index) }
        func restore(cursor: DataCursor) throws { index = cursor.position }
    }

    /// Streams `vqa` of questions and `replay` of demonstrations.
    private func sources(_ fixture: StepFixture, answers: String? = nil) -> StreamSources {
        let config = fixture.model.config
        return StreamSources(kinds: ["vqa": .questions, "replay": .demonstrations], answers: answers) {
            name, _, count in
            let source: any BatchSource =
                name == "vqa"
                ? RandomQuestions(config, batchSize: count) : RandomBatches(config, batchSize: count, seed: 77)
            return source
        }
    }

    private func run(_ step: TrainingStep, _ fixture: StepFixture, steps: Range<Int>) throws -> [StepReport] {
        let source = RandomBatches(fixture.model.config, batchSize: 4)
        return try steps.map { try step.run(step: $0, from: source) }
    }

    /// Until a stream has a batch, the run is what it is without it, bit for bit.
    @Test(arguments: ["CoTraining:start=3", "Replay:start=3,AGEM:constraint=replay"])
    func aStreamThatIsNotDueChangesNothing(_ plugins: String) throws {
        let results = try ["", "," + plugins].map { more in
            let fixture = try StepFixture()
            let step = try fixture.step("BaselineL1,AnchorVariants" + more, streams: sources(fixture))
            return (try run(step, fixture, steps: 0..<3), fixture.allValues)
        }
        #expect(results[0].1 == results[1].1)
        for report in results[1].0 {
            #expect(report.metrics.keys.allSatisfy { !$0.hasPrefix("loss.cotraining") && !$0.hasPrefix("loss.replay") })
        }
    }

    @Test func runsWhenItIsDue() throws {
        let fixture = try StepFixture()
        let step = try fixture.step(
            "BaselineL1,CoTraining:interval=2:start=1:batch=3,Replay", streams: sources(fixture))
        for (index, report) in try run(step, fixture, steps: 0..<6).enumerated() {
            #expect((report.metrics["loss.cotraining"] != nil) == (index % 2 == 1), "step \(index)")
            #expect((report.metrics["cotraining_accuracy"] != nil) == (index % 2 == 1))
            #expect((report.metrics["loss.replay"] ?? 0) > 0)
            guard index % 2 == 1 else { continue }
            let values = step.session.values
            let rows = try #require(values.array("stream.vqa.text_row"))
            #expect(Set(rows.integers) == [0, 1, 2] && Array(rows.integers) == rows.integers.sorted())
            #expect(values.array("stream.vqa.text_ids")?.shape == rows.shape)
            #expect(values.array("stream.vqa.text_logits")?.shape == [rows.count, 50])
            #expect(values.array("stream.replay.predicted_actions")?.shape == [4, 8, 7])
        }
    }

    @Test(arguments: ["CoTraining", "CoTraining:reduction=answer:batch=3"], [false, true])
    func gradientAgainstFiniteDifferences(_ plugin: String, _ checkpoints: Bool) throws {
        let fixture = try StepFixture()
        var settings = StepSettings()
        settings.checkpointsActivations = checkpoints
        let same = try fixture.step(plugin, settings: settings, learningRate: 0, streams: frozen(fixture))
        try fixture.expectDerivative(of: "cotraining", in: same) {
            try run(same, fixture, steps: 0..<1)[0].metrics
        }
    }

    /// The same batch of each stream every time.
    private func frozen(_ fixture: StepFixture) -> StreamSources {
        var sources = sources(fixture)
        let open = sources.open
        sources.open = { OneBatch(try open($0, $1, $2).next()) }
        return sources
    }

    /// A stream that gives the run's own batch gives its loss and gradient, bit for bit.
    @Test(arguments: [nil, AdapterSettings(rank: 3, alpha: 6)])
    func replayOfTheBatchItself(_ adapter: AdapterSettings?) throws {
        let fixture = try StepFixture(adapter: adapter)
        let config = fixture.model.config
        let step = try fixture.step(
            "BaselineL1,Replay", learningRate: 0,
            streams: StreamSources(kinds: ["replay": .demonstrations]) { _, _, count in
                RandomBatches(config, batchSize: count)
            })
        let metrics = try run(step, fixture, steps: 0..<1)[0].metrics
        #expect(metrics["loss.replay"] == metrics["loss.action"])
        for parameter in fixture.model.parameters.parameters where parameter.isTrainable {
            let gradients = ["action", "replay"].map { fixture.gradient(step, $0, parameter.name) }
            #expect(gradients[0] == gradients[1], "\(parameter.name)")
        }
    }

    /// A token at a time, as somebody who answers would, gives the logits of the whole answer at once.
    @Test func teacherForcingIsWhatDecodingSees() throws {
        let fixture = try StepFixture()
        let source = RandomQuestions(fixture.model.config, batchSize: 4)
        var batch = try source.next()
        batch.input.wantsAnswer = true
        let lengths = batch.input.answerLengths
        #expect(lengths.contains { $0 > 1 })
        let tape = Tape(parameters: fixture.model.parameters, parallel: fixture.parallel)
        func logits(_ input: ModelInput) throws -> [[Float]] {
            tape.reset(weights: fixture.model.parameters.currentWeights(), recording: false)
            let tensor = try #require(fixture.model.forward(input, on: tape).answerLogits)
            return (0..<tensor.rows).map { row in
                Array(UnsafeBufferPointer(start: tensor.values + row * tensor.columns, count: tensor.columns))
            }
        }
        let all = try logits(batch.input)
        #expect(all.count == lengths.reduce(0, +))
        var row = 0
        for (sample, length) in lengths.enumerated() {
            for place in 0..<length {
                var input = batch.input
                let prompt = input.prompts[sample]
                input.prompts[sample] = Array(prompt.prefix(prompt.count - (length - 1) + place))
                input.answerLengths = []
                let step = try logits(input)[sample]
                #expect(ParityTests.error(step, all[row]) < 1e-4, "sample \(sample), token \(place)")
                row += 1
            }
        }
    }

    /// Features of a stream under the initial weights are those under the current ones until these move.
    @Test func anchorsOfAStream() throws {
        let plugins = try CompiledPlugin()
        let plugin = try plugins.build(
            "Drift",
            """
            #define PLAN_OUT(X) X(i64, interval, "stream.vqa.interval", "") X(i64, layer, "stream.vqa.tap.t.layer", "") \\
                X(i64, tokens, "stream.vqa.tap.t.tokens", "") X(i64, pooling, "stream.vqa.tap.t.pooling", "")
            CRAFT_HOOK(plan, CRAFT_NONE, PLAN_OUT) {
                *interval = 1; *layer = 3; *tokens = CRAFT_TAP_TOKENS_PROMPT; *pooling = 0;
                return CRAFT_OK;
            }
            static double drift(const craft_array *a, const craft_array *b) {
                double sum = 0;
                for (int64_t i = 0; i < craft_count(a); i++) sum += fabs(craft_read_f32(a)[i] - craft_read_f32(b)[i]);
                return sum;
            }
            #define IN(X) X(f32_array, f, "stream.vqa.feature.t", "[b,t,d]") X(f32_array, a, "stream.vqa.anchor.t", "[b,t,d]") \\
                X(f32_array, m, "stream.vqa.mask.t", "[b,t]") X(f32_array, z, "stream.vqa.text_logits", "[n,v]") \\
                X(f32_array, y, "stream.vqa.anchor_text_logits", "[n,v]")
            #define OUT(X) X(f64, features, "metric.features", "") X(f64, logits, "metric.logits", "") \\
                X(f64, tokens, "metric.tokens", "")
            CRAFT_HOOK(measure, IN, OUT) {
                *features = drift(f, a);
                *logits = drift(z, y);
                *tokens = 0;
                for (int64_t i = 0; i < craft_count(m); i++) *tokens += craft_read_f32(m)[i];
                return CRAFT_OK;
            }
            """, table: "CRAFT_HOOK_ENTRY(\"plan\", plan), CRAFT_HOOK_ENTRY(\"pre_backward\", measure)")
        let fixture = try StepFixture()
        let step = try fixture.step("BaselineL1,\(plugin)", streams: sources(fixture))
        let reports = try run(step, fixture, steps: 0..<2)
        #expect(reports[0].metrics["features"] == 0 && reports[0].metrics["logits"] == 0)
        #expect((reports[1].metrics["features"] ?? 0) > 0 && (reports[1].metrics["logits"] ?? 0) > 0)
        #expect((reports[0].metrics["tokens"] ?? 0) > 4)
    }

    /// In `train`, the answers that 1.0 names are those of the one stream of questions.
    @Test func answersOfAStreamUnderTheirOldNames() throws {
        let fixture = try StepFixture()
        let step = try fixture.step(
            "BaselineL1,AnswerLoss,CoTraining", learningRate: 0, streams: sources(fixture, answers: "vqa"))
        let metrics = try run(step, fixture, steps: 0..<1)[0].metrics
        let (answer, cotraining) = (try #require(metrics["loss.answer"]), try #require(metrics["loss.cotraining"]))
        #expect(answer > 0 && abs(answer / cotraining - 1) < 1e-12)
        let name = "language_model.model.layers.1.mlp.up_proj.weight"
        let gradients = ["answer", "cotraining"].map { fixture.gradient(step, $0, name) }
        #expect(gradients[0] == gradients[1] && gradients[0].contains { $0 != 0 })
    }

    @Test(arguments: [
        (
            "CoTraining",
            "it asks for the data stream 'vqa', which this run was not given: give `streams` vqa=questions:FOLDER"
        ),
        ("Replay", "which this run was not given: give `streams` replay=demonstrations:FOLDER"),
    ]) func refusesWhatTheUserDidNotGive(_ plugin: String, _ words: String) throws {
        let fixture = try StepFixture()
        let failure = try #require(throws: PluginFailure.self) { try fixture.step(plugin) }
        #expect(failure.description.contains(words), "\(failure)")
    }

    @Test(arguments: [
        (
            "CoTraining:stream=replay",
            "has to be of questions, and it is of demonstrations: give `streams` replay=questions:"
        ),
        (
            "Replay:stream=vqa",
            "has to be of demonstrations, and it is of questions: give `streams` vqa=demonstrations:"
        ),
        (
            "CoTraining,b=CoTraining:objective=b:interval=2",
            "it sets 'stream.vqa.interval' to 2, but CoTraining sets it to 1"
        ),
    ]) func refusesWhatDoesNotFit(_ plugins: String, _ words: String) throws {
        let fixture = try StepFixture()
        let failure = try #require(throws: PluginFailure.self) {
            try fixture.step(plugins, streams: sources(fixture))
        }
        #expect(failure.description.contains(words), "\(failure)")
    }

    /// Streams of the same seed and step are drawn anew from where a checkpoint was.
    @Test func cursorsContinue() throws {
        let (one, two) = (try StepFixture(), try StepFixture())
        let first = try one.step("CoTraining,Replay:interval=2", learningRate: 0, streams: sources(one))
        let reports = try run(first, one, steps: 0..<3)
        let second = try two.step("CoTraining,Replay:interval=2", learningRate: 0, streams: sources(two))
        _ = try run(second, two, steps: 0..<2)
        let third = try two.step("CoTraining,Replay:interval=2", learningRate: 0, streams: sources(two))
        try third.restoreStreams(second.streamCursors)
        #expect(second.streamCursors.mapValues(\.position) == ["vqa": 8, "replay": 4])
        let resumed = try third.run(step: 2, from: RandomBatches(two.model.config, batchSize: 4))
        for name in ["loss.cotraining", "loss.replay"] { #expect(resumed.metrics[name] == reports[2].metrics[name]) }
    }

    @Test func settingsAreReadInWords() throws {
        let settings = try StreamSetting.parse(["vqa=questions:a/b,c", "old=demonstrations:x:y,new-1=questions:z"])
        #expect(
            settings == [
                StreamSetting(name: "vqa", kind: .questions, path: "a/b,c"),
                StreamSetting(name: "old", kind: .demonstrations, path: "x:y"),
                StreamSetting(name: "new-1", kind: .questions, path: "z"),
            ])
        for text in ["vqa", "vqa=questions", "vqa=answers:a", "=questions:a", "v.q=questions:a", "vqa=questions:", ""] {
            let error = try #require(throws: TrainingError.self) { try StreamSetting.parse([text]) }
            #expect(
                error.code == .settings && "\(error)".contains("expected NAME=questions:FOLDER"), "\(text): \(error)")
        }
        #expect(throws: TrainingError.self) { try StreamSetting.parse(["a=questions:x", "a=questions:y"]) }
    }
}
