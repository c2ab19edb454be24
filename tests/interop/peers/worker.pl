#!/usr/bin/perl
# Drives Gearman::Worker; see README.md.
use strict;
use warnings;

use Gearman::Worker;

my ($host, $port) = @ARGV;
my $worker = Gearman::Worker->new(job_servers => ["$host:$port"], client_id => 'perl');
local $SIG{__WARN__} = sub { };    # it tells of each job that died

$worker->register_function('perl-reverse' => sub { return scalar reverse $_[0]->arg });
$worker->register_function(
    'perl-chatty' => sub {
        my ($job) = @_;
        $worker->send_work_data($job, 'one');
        $worker->send_work_warning($job, 'careful');
        # Not send_work_status: it forgets the denominator.
        $job->set_status(1, 2);
        $worker->send_work_data($job, 'two');
        $job->set_status(2, 2);
        return 'done';
    }
);
$worker->register_function('perl-fail'  => sub { return });
$worker->register_function('perl-raise' => sub { die "boom\n" });
$worker->register_function(
    'perl-note' => sub {
        open my $notes, '>>:raw', $ENV{NOTES} or die $!;
        print {$notes} $_[0]->arg, "\n";
        close $notes;
        return '';
    }
);
$worker->work while 1;
