#!/usr/bin/perl
# A worker that reports with Gearman::Worker's own send_work_status, which sends
# a WORK_STATUS without the denominator.
use strict;
use warnings;

use Gearman::Worker;

my ($host, $port) = @ARGV;
my $worker = Gearman::Worker->new(job_servers => ["$host:$port"], client_id => 'perl');

$worker->register_function(
    'perl-half-status' => sub {
        my ($job) = @_;
        $worker->send_work_status($job, 5, 10);
        return scalar reverse $job->arg;
    }
);
$worker->work while 1;
