<?php
// Drives pecl's GearmanClient; see README.md.

[, $host, $port] = $argv;

function client(): GearmanClient
{
    global $host, $port, $exceptions, $patience;
    $client = new GearmanClient();
    $client->addServer($host, (int) $port);
    $client->setTimeout($patience);
    if ($exceptions) {
        $client->enableExceptionHandler();
    }
    return $client;
}

function tell(GearmanClient $client, array &$events): void
{
    $note = function (string $kind, string ...$data) use (&$events) {
        $events[] = [$kind, ...array_map('bin2hex', $data)];
    };
    $client->setCreatedCallback(function ($task) use ($note) { $note('created', $task->jobHandle()); });
    $client->setDataCallback(function ($task) use ($note) { $note('data', $task->data()); });
    $client->setWarningCallback(function ($task) use ($note) { $note('warning', $task->data()); });
    $client->setStatusCallback(function ($task) use ($note) {
        $note('status', (string) $task->taskNumerator(), (string) $task->taskDenominator());
    });
    $client->setCompleteCallback(function ($task) use ($note) { $note('complete', (string) $task->data()); });
    $client->setFailCallback(function ($task) use ($note) { $note('fail'); });
    $client->setExceptionCallback(function ($task) use ($note) { $note('exception', (string) $task->data()); });
}

function answer(array $asked): array
{
    global $exceptions, $patience;
    $function = $asked['function'] ?? '';
    $workload = hex2bin($asked['workload'] ?? '');
    $unique = $asked['unique'] ?? null;
    $priority = $asked['priority'] ?? 'normal';
    $client = client();
    switch ($asked['verb']) {
        case 'call':
            $method = ['high' => 'doHigh', 'normal' => 'doNormal', 'low' => 'doLow'][$priority];
            $result = @$client->$method($function, $workload, $unique);
            return match ($client->returnCode()) {
                GEARMAN_SUCCESS => ['result' => bin2hex((string) $result)],
                GEARMAN_WORK_FAIL => ['failed' => true],
                GEARMAN_WORK_EXCEPTION => ['exception' => bin2hex((string) $result)],
                GEARMAN_TIMEOUT => ['error' => 'timeout'],
                default => ['error' => (string) $client->error(), 'code' => $client->returnCode()],
            };
        case 'task':
            $events = [];
            tell($client, $events);
            $method = ['high' => 'addTaskHigh', 'normal' => 'addTask', 'low' => 'addTaskLow'][$priority];
            $client->$method($function, $workload, null, $unique);
            @$client->runTasks();
            return ['events' => $events];
        case 'background':
            $method = [
                'high' => 'doHighBackground', 'normal' => 'doBackground', 'low' => 'doLowBackground',
            ][$priority];
            return ['handle' => $client->$method($function, $workload, $unique)];
        case 'many':
            $results = [];
            $client->setCompleteCallback(function ($task, $number) use (&$results) {
                $results[(int) $number] = bin2hex((string) $task->data());
            });
            foreach ($asked['workloads'] as $number => $one) {
                $client->addTask($function, hex2bin($one), (string) $number);
            }
            @$client->runTasks();
            ksort($results);
            return ['results' => array_values($results)];
        case 'status':
            [$known, $running, $numerator, $denominator] = $client->jobStatus($asked['handle']);
            return ['status' => [(int) $known, (int) $running, $numerator, $denominator]];
        case 'unique status':
            [$known, $running, $numerator, $denominator] =
                $client->jobStatusByUniqueKey($asked['unique']);
            return ['status' => [(int) $known, (int) $running, $numerator, $denominator]];
        case 'watch':
            $told = [];
            $client->setStatusCallback(function ($task) use (&$told) {
                $told[] = [$task->taskNumerator(), $task->taskDenominator(), $task->isRunning()];
            });
            $client->addTaskStatus($asked['handle']);
            @$client->runTasks();
            return ['told' => $told];
        case 'mixed':
            // Foreground and background, all priorities, one run.
            $done = [];
            $client->setCompleteCallback(function ($task) use (&$done) {
                $done[] = $task->unique() . '=' . $task->data();
            });
            $client->setCreatedCallback(function ($task) use (&$done) {
                $done[] = 'created ' . $task->functionName();
            });
            foreach (['', 'High', 'Low'] as $word) {
                $client->{"addTask$word"}($function, $workload, null, "fg$word");
                $client->{"addTask{$word}Background"}($asked['background'], $workload, null, "bg$word");
            }
            $ok = $client->runTasks();
            sort($done);
            return ['ok' => $ok, 'done' => $done];
        case 'exceptions':
            $exceptions = true;
            return ['ok' => true];
        case 'ping':
            return ['ok' => $client->ping('are you there?')];
        case 'patience':
            $patience = (int) ($asked['seconds'] * 1000);
            return ['ok' => true];
        case 'version':
            return ['version' => phpversion('gearman') . ' (libgearman ' . gearman_version() . ', PHP ' . PHP_VERSION . ')'];
    }
    return ['error' => 'what?'];
}

$exceptions = false;
$patience = 10000;
while (($line = fgets(STDIN)) !== false) {
    echo json_encode(answer(json_decode($line, true))), "\n";
}
