<?php
// The PHP extension: php php_jobs.php WHAT HOST:PORT [COUNT]; prints JSON.
[, $what, $server] = $argv;
[$host, $port] = explode(':', $server);
$count = (int) ($argv[3] ?? 0);
$body = str_repeat('x', 32);

if ($what === 'worker') {
    $worker = new GearmanWorker();
    $worker->addServer($host, (int) $port);
    $worker->addFunction('bench0', fn (GearmanJob $job) => $job->workload());
    while ($worker->work());
    exit(1);
}

$client = new GearmanClient();
$client->addServer($host, (int) $port);
$began = microtime(true);
switch ($what) {
    case 'all':
        $done = 0;
        $client->setCompleteCallback(function (GearmanTask $task) use (&$done, $body) {
            $done += $task->data() === $body ? 1 : 0;
        });
        for ($n = 0; $n < $count; $n++) {
            $client->addTask('bench0', $body);
        }
        if (!$client->runTasks() || $done !== $count) {
            fwrite(STDERR, "$done of $count: {$client->error()}\n");
            exit(1);
        }
        $said = ['rate' => $count / (microtime(true) - $began)];
        break;
    case 'one':
        $took = [];
        for ($n = 0; $n < $count; $n++) {
            $began = microtime(true);
            $client->doNormal('bench0', $body);
            $took[] = microtime(true) - $began;
        }
        sort($took);
        $said = ['p50' => $took[intdiv($count, 2)] * 1e6, 'p99' => $took[intdiv($count * 99, 100)] * 1e6];
        break;
    case 'background':
        for ($n = 0; $n < $count; $n++) {
            $client->doBackground('queue0', $body);
        }
        $said = ['rate' => $count / (microtime(true) - $began)];
        break;
    case 'pipelined':
        for ($n = 0; $n < $count; $n++) {
            $client->addTaskBackground('queue0', $body);
        }
        if (!$client->runTasks()) {
            fwrite(STDERR, "{$client->error()}\n");
            exit(1);
        }
        $said = ['rate' => $count / (microtime(true) - $began)];
        break;
}
echo json_encode($said), "\n";
