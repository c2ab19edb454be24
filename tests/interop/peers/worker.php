<?php
// Drives pecl's GearmanWorker; see README.md.

[, $host, $port] = $argv;

$worker = new GearmanWorker();
$worker->addServer($host, (int) $port);
$worker->setId('php');
$worker->addFunction('php-reverse', fn ($job) => strrev($job->workload()));
$worker->addFunction('php-chatty', function ($job) {
    $job->sendData('one');
    $job->sendWarning('careful');
    $job->sendStatus(1, 2);
    $job->sendData('two');
    $job->sendStatus(2, 2);
    return 'done';
});
$worker->addFunction('php-fail', function ($job) { $job->sendFail(); });
$worker->addFunction('php-raise', function ($job) { $job->sendException('boom'); });
$worker->addFunction('php-note', function ($job) {
    file_put_contents(getenv('NOTES'), $job->workload() . "\n", FILE_APPEND);
    return '';
});
while (@$worker->work() || $worker->returnCode() !== GEARMAN_COULD_NOT_CONNECT) {
}
